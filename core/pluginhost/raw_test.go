package pluginhost

// rawPlugin is a plugin that does not speak the protocol as it should.
func rawPlugin(mode string, args []string) { panic(mode) }
