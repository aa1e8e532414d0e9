package options

import "github.com/rtflow/pipelined/sdk"

// Keys are the keys that a table sets, those of tables in it joined with dots: "rotate.size".
type Keys map[string]bool

// KeysOf returns the keys of a plugin's table that the plugin reads; of nil, none.
func KeysOf(cfg sdk.Config) Keys {
	if cfg == nil {
		return nil
	}
	var tree map[string]any
	cfg.Decode(&tree)
	k := make(Keys)
	k.add("", tree)
	return k
}

func (k Keys) add(prefix string, tree map[string]any) {
	for key, value := range tree {
		k[prefix+key] = true
		if sub, ok := value.(map[string]any); ok {
			k.add(prefix+key+".", sub)
		}
	}
}

// Idle warns of those of the keys that are set, although nothing reads them; why says why.
func (k Keys) Idle(cfg sdk.Config, why string, keys ...string) {
	for _, key := range keys {
		if k[key] {
			cfg.Warnf(key, "means nothing here: %s", why)
		}
	}
}
