package config

// refuse reports what parses, because its key belongs to the format, but is not built yet.
func (d *decoder) refuse(c *Config) {
	d.unavailable("tls.client_ca", c.TLS.ClientCA != "")
	d.unavailable("caller.jwt", c.Caller.JWT != nil)
	d.unavailable("caller.api_keys", c.Caller.APIKeys != nil)
	d.unavailable("caller.mtls", c.Caller.MTLS != nil)
}

func (d *decoder) unavailable(path string, set bool) {
	if set {
		d.addAt(path, "not available in this version", "remove it, or leave it at its default")
	}
}
