package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serveCommand runs servers until it is killed. Each argument is PROTO=ADDRESS:PORT.
func serveCommand(args []string) error {
	failed := make(chan error)
	for _, arg := range args {
		proto, addr, _ := strings.Cut(arg, "=")
		var run func() error
		switch proto {
		case "http":
			run = func() error { return http.ListenAndServe(addr, web()) }
		case "https":
			run = func() error { return serveTLS(addr) }
		case "ssh":
			run = func() error { return serveTCP(addr, sshServer) }
		case "smtp":
			run = func() error { return serveTCP(addr, smtpServer) }
		case "trickle":
			run = func() error { return serveTCP(addr, trickle) }
		case "echo":
			run = func() error { return serveUDP(addr, func(b []byte) []byte { return b }) }
		case "ntp":
			run = func() error { return serveUDP(addr, func(b []byte) []byte { return append([]byte{0x24}, b[1:]...) }) }
		default:
			return fmt.Errorf("no server for %q", proto)
		}
		go func() { failed <- fmt.Errorf("%s: %w", arg, run()) }()
	}
	return <-failed
}

// web answers /N with N bytes, everything else with a short page.
func web() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); err == nil && n >= 0 {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", strconv.Itoa(n))
			_, _ = w.Write(bytes.Repeat([]byte("x"), n))
			return
		}
		fmt.Fprintln(w, "<p>hello</p>")
	})
}

func serveTLS(addr string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "www.example.net"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"www.example.net"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:    addr,
		Handler: web(),
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		},
	}
	return server.ListenAndServeTLS("", "")
}

func serveTCP(addr string, handle func(net.Conn)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			handle(c)
		}()
	}
}

func serveUDP(addr string, answer func([]byte) []byte) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if n > 0 {
			_, _ = c.WriteTo(answer(append([]byte(nil), buf[:n]...)), from)
		}
	}
}

// sshServer sends a banner, then answers every line with as many bytes.
func sshServer(c net.Conn) {
	fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
	_, _ = io.Copy(c, c)
}

func smtpServer(c net.Conn) {
	fmt.Fprint(c, "220 mail.example.net ESMTP\r\n")
	data := false
	for s := bufio.NewScanner(c); s.Scan(); {
		line := s.Text()
		switch {
		case data && line == ".":
			data = false
			fmt.Fprint(c, "250 queued\r\n")
		case data:
		case line == "DATA":
			data = true
			fmt.Fprint(c, "354 go ahead\r\n")
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// trickle reads a number of seconds up to the end of input, then sends a line every two seconds for so long.
func trickle(c net.Conn) {
	line, err := io.ReadAll(c)
	if err != nil {
		return
	}
	seconds, _ := strconv.Atoi(strings.TrimSpace(string(line)))
	for i := 0; i < seconds; i += 2 {
		fmt.Fprintf(c, "line %d\n", i/2)
		time.Sleep(2 * time.Second)
	}
}

// talkCommand is one client dialogue.
func talkCommand(args []string) error {
	if len(args) < 2 {
		return errors.New("kind and address, please")
	}
	kind, addr := args[0], args[1]
	number := 0
	if len(args) > 2 {
		var err error
		if number, err = strconv.Atoi(args[2]); err != nil {
			return err
		}
	}
	switch kind {
	case "trace":
		return trace(addr)
	case "udp":
		return datagram(addr, bytes.Repeat([]byte("u"), number))
	case "ntp":
		return datagram(addr, append([]byte{0x23}, make([]byte, 47)...))
	case "syn": // an attempt: give up after `number` seconds, whatever comes
		c, err := net.DialTimeout("tcp", addr, time.Duration(number)*time.Second)
		if err == nil {
			return c.Close()
		}
		return nil
	case "hold":
		return hold(addr, number)
	}
	dialed, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer dialed.Close()
	c := dialed.(*net.TCPConn)
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	switch kind {
	case "ssh":
		return ssh(c, 12)
	case "stay": // leaves the connection open until it is killed
		if err := ssh(c, 3); err != nil {
			return err
		}
		select {}
	case "smtp":
		return smtp(c)
	case "abort": // RST in the middle
		fmt.Fprint(c, "GET /20000 HTTP/1.1\r\nHost: www.example.net\r\n\r\n")
		if _, err := io.ReadFull(c, make([]byte, 4000)); err != nil {
			return err
		}
		return c.SetLinger(0)
	case "half": // closes its own direction at once, reads for `number` seconds more
		fmt.Fprintf(c, "%d\n", number)
		if err := c.CloseWrite(); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, c)
		return err
	}
	return fmt.Errorf("no dialogue %q", kind)
}

func ssh(c net.Conn, turns int) error {
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		return err
	}
	for i := range turns {
		said := strings.Repeat("k", 20+40*i) + "\n"
		if i == 0 {
			said = "SSH-2.0-OpenSSH_9.2\r\n"
		}
		fmt.Fprint(c, said)
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

func smtp(c net.Conn) error {
	r := bufio.NewReader(c)
	for _, said := range []string{
		"", "EHLO client.example.net\r\n", "MAIL FROM:<a@example.net>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n",
		"Subject: hello\r\n\r\n" + strings.Repeat("hello\r\n", 200) + ".\r\n", "QUIT\r\n",
	} {
		fmt.Fprint(c, said)
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

// hold opens many connections at once, keeps them for a second, closes them.
func hold(addr string, n int) error {
	for range n {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
	}
	time.Sleep(time.Second)
	return nil
}

// datagram sends one datagram and waits a second for an answer, which need not come.
func datagram(addr string, payload []byte) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(payload); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 65536))
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return err
}

// trace sends UDP with a growing time to live, as traceroute does.
func trace(host string) error {
	for ttl := 1; ttl <= 4; ttl++ {
		dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, ttl) })
			return errors.Join(err, failed)
		}}
		c, err := dialer.Dial("udp4", net.JoinHostPort(host, strconv.Itoa(33433+ttl)))
		if err != nil {
			return err
		}
		_, err = c.Write(make([]byte, 32))
		time.Sleep(100 * time.Millisecond)
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}
