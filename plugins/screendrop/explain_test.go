package screendrop

import (
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestScreenKeys: the key of every screen that can fire switches it on, and is one that the table has.
func TestScreenKeys(t *testing.T) {
	for screen, key := range keys {
		switch event.Screen(screen) {
		case event.ScreenSYNCookie, event.ScreenSessionLimitSrc, event.ScreenSessionLimitDst, event.ScreenSpoofing, event.ScreenExtended:
			if key != "" {
				t.Errorf("%v is not one of this hook's, and has the key %q", event.Screen(screen), key)
			}
			continue
		}
		cfg, problems := config.ParseTable("p.toml", []byte(key+" = true\n"))
		var o options
		cfg.Decode(&o)
		if err := problems.Err(); err != nil || key == "" {
			t.Errorf("%v has the key %q: %v", event.Screen(screen), key, err)
			continue
		}
		if g := newSignatures(&o); g.on != 0 && !g.has(event.Screen(screen)) {
			t.Errorf("%q switches another screen on than %v", key, event.Screen(screen))
		}
	}
}
