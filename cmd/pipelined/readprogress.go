package main

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/rtflow/pipelined/sources/capture"
)

// showProgress draws a bar on standard error, if that is a terminal and standard output is not.
func showProgress(open *atomic.Pointer[capture.Source], done <-chan struct{}) {
	if !term.IsTerminal(int(os.Stderr.Fd())) || term.IsTerminal(int(os.Stdout.Fd())) {
		return
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	var bar *progressbar.ProgressBar
	for {
		select {
		case <-done:
			if bar != nil {
				_ = bar.Clear() // an error means that the terminal is gone
			}
			return
		case <-ticker.C:
		}
		s := open.Load()
		if s == nil {
			continue
		}
		read, total := s.Progress()
		if bar == nil {
			if total == 0 {
				total = -1
			}
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true),
				progressbar.OptionSetDescription("reading"), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(read) // as above
	}
}
