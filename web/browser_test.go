package web

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium, and returns the context of a tab and what its console says. It ends with the test.
func browser(t *testing.T) (ctx context.Context, console func() []string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("PIPELINED_REQUIRE_CHROMIUM") == "1" {
			t.Fatal(err)
		}
		t.Skip("chromium is not installed")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // that of the test ends before what is cleaned up
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	messages := chromedp.Console(ctx)
	var mu sync.Mutex
	var said []string
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			mu.Lock()
			said = append(said, m.String())
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
		reading.Wait()
	})
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// evaluate returns the value of an expression in the page.
func evaluate[T any](t *testing.T, ctx context.Context, expression string) T { //nolint:revive // as in testing
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression in the page is true.
func until(t *testing.T, ctx context.Context, expression string) { //nolint:revive // as in testing
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression)); err != nil {
		t.Fatalf("%s: %v; the page says\n%s", expression, err, evaluate[string](t, ctx, "document.body.innerText"))
	}
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// The page in a browser: nothing violates its policy, figures and events are alive, hostile text is text, a telephone needs no scrolling
// sideways, and it is dark where that is asked for.
func TestBrowser(t *testing.T) {
	f := newFake()
	base := "http://" + serve(t, f, "s3cret")
	ctx, console := browser(t)
	if err := chromedp.Do(ctx, scheme("light"), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(base+"/"),
		chromedp.SendKeys("#token", "wrong\r"), chromedp.WaitVisible("#wrong"), chromedp.SendKeys("#token", "s3cret\r"), chromedp.WaitVisible("#filter")); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var traffic sync.WaitGroup
	traffic.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				f.moved(100)
				if n, _ := f.tail.Watchers(); n > 0 {
					f.admitOne(2, 7000)
					f.admitOne(1, 7001)
				}
			}
		}
	})
	quiet := sync.OnceFunc(func() { close(done); traffic.Wait() })
	t.Cleanup(quiet)
	until(t, ctx, `document.querySelectorAll("#rows tr").length > 3`)
	until(t, ctx, `document.querySelectorAll("#denied .badge").length > 1`)
	until(t, ctx, `/^[1-9]/.test(document.getElementById("packets-rate").textContent)`)
	until(t, ctx, `document.querySelectorAll("#graph .node").length === 4 && document.querySelectorAll("#chart-packets path.line").length > 0`)
	until(t, ctx, `/0 unaccounted for/.test(document.getElementById("verdict-text").textContent)`)
	until(t, ctx, `/In the spool/.test(document.querySelector("table.sinks").innerText) && /3, 50 %/.test(document.querySelector("#sinks").innerText)`)
	until(t, ctx, `document.querySelectorAll("#chart-zones path.line").length > 1 && /offloaded/.test(document.getElementById("chart-packets").innerText)`)
	for _, place := range []string{"#rows", "#denied", "#sinks", "#graph", "#chart-zones", "#chart-waiting", "#notes"} {
		if text := evaluate[string](t, ctx, `document.querySelector("`+place+`").textContent`); !strings.Contains(text, "<img src=x") {
			t.Errorf("%s does not show the hostile name as text: %s", place, text)
		}
	}
	if text := evaluate[string](t, ctx, `document.querySelector("#denied").textContent`); !strings.Contains(text, `\u{202e}<b>`) {
		t.Errorf("what turns text around is not written out: %s", text)
	}
	if n := evaluate[int](t, ctx, `document.querySelectorAll("main img, main b:not(.legend b)").length`); n != 0 {
		t.Errorf("the hostile name has made %d elements", n)
	}
	// A click on an address filters by it; a filter that is wrong is told.
	if err := chromedp.Do(ctx, chromedp.SetValue(`[name=port]`, "7001"), chromedp.Click("#filter [type=submit]")); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, `document.querySelectorAll("#rows tr").length > 0 && [...document.querySelectorAll("#rows .src")].every((e) => e.textContent.endsWith(":7001"))`)
	if err := chromedp.Do(ctx, chromedp.SetValue(`[name=port]`, "many"), chromedp.Click("#filter [type=submit]")); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, `document.getElementById("feed").textContent.startsWith("port: must be 0 to 65535") && document.querySelector("[name=port]").ariaInvalid === "true"`)
	if err := chromedp.Do(ctx, chromedp.Click("#clear")); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, `document.querySelectorAll("#rows tr").length > 0`)
	// A restart is noticed, though the epoch is kept. Rows that come behind the note would push it out of the table, before a browser that
	// gets little time has looked.
	quiet()
	f.restarted()
	until(t, ctx, `[...document.querySelectorAll("#rows .note")].some((e) => /started anew/.test(e.textContent))`)
	for _, view := range []struct {
		width  int64
		scheme string
	}{{1280, "light"}, {390, "light"}, {390, "dark"}, {320, "dark"}} {
		if err := chromedp.Do(ctx, scheme(view.scheme), chromedp.EmulateViewport(view.width, 844)); err != nil {
			t.Fatal(err)
		}
		until(t, ctx, `document.documentElement.scrollWidth <= innerWidth && document.querySelector("#graph svg").clientWidth < innerWidth`)
		dark := evaluate[bool](t, ctx, `getComputedStyle(document.body).backgroundColor.match(/\d+/)[0] < 128`)
		if dark != (view.scheme == "dark") {
			t.Errorf("%+v: dark is %v", view, dark)
		}
	}
	if others := evaluate[[]string](t, ctx, `performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith(location.origin + "/"))`); len(others) > 0 {
		t.Errorf("the page has asked elsewhere: %v", others)
	}
	checkFeed(t, ctx)
	for _, m := range console() {
		if !strings.HasPrefix(m, "debug:") && !strings.Contains(m, "401") { // the login that failed
			t.Errorf("the console says %s", m)
		}
	}
}

// checkFeed holds what the table of events keeps: where it knows too many rules, one that begins to deny takes the place of those that have been
// quiet for a minute; what is left out while it is paused counts; and no note takes the place of another.
func checkFeed(t *testing.T, ctx context.Context) { //nolint:revive // as in testing
	t.Helper()
	evaluate[bool](t, ctx, `import("/assets/events.js").then(({ Events }) => {
		const feed = new Events();
		const deny = (i) => feed.deny({ kind: "policy-deny", rule: "r" + i, n: 1 });
		for (let i = 0; i <= 500; i++) deny(i);
		const full = feed.denied.size;
		for (const d of feed.denied.values()) d.seconds.fill(0);
		deny(501);
		feed.pause(true);
		feed.message({ left_out: 7 });
		feed.rows = document.createElement("tbody");
		feed.note("a");
		feed.note("b");
		document.body.dataset.kept = [full, feed.denied.size, feed.leftOut, feed.rows.textContent].join(" ");
	}), true`)
	until(t, ctx, `"kept" in document.body.dataset`)
	if got := evaluate[string](t, ctx, `document.body.dataset.kept`); got != "500 1 7 ba" {
		t.Errorf("rules kept when there are too many and when all are quiet, left out, notes: %s", got)
	}
}
