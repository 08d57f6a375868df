package config

// Lookup reads one environment variable, as os.LookupEnv does.
type Lookup func(name string) (value string, ok bool)

// Source is everything that a configuration is made from.
type Source struct {
	File      string    // name for messages, and the base of relative paths; empty when there is no file
	Data      []byte    // the file's content; ignored without a File and nil
	Lookup    Lookup    // nil means an empty environment
	Overrides Overrides // from flags
}

// Overrides are the values of flags; empty means not given.
type Overrides struct {
	Listen      string
	Store       string
	Upstream    string // a URL
	AdminListen string
	LogLevel    string
	LogFormat   string
}

// ForUpstream returns the configuration of a gateway without a file: one upstream, one route /**, one
// caller for all clients, a SQLite file in the working directory. The error is an *Error.
func ForUpstream(url string, overrides Overrides, lookup Lookup) (*Config, error) {
	overrides.Upstream = url
	return Load(Source{Lookup: lookup, Overrides: overrides})
}

// Warnings returns what is legal but unwise, in the order of the file.
func (c *Config) Warnings() []Warning { return c.warnings }

// Load returns the configuration that src describes. The error is an *Error with everything that is
// wrong.
func Load(src Source) (*Config, error) {
	return nil, &Error{Problems: []Problem{{Message: "not yet"}}}
}
