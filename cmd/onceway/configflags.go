package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
)

// configVariable names the configuration file where no flag does.
const configVariable = "ONCEWAY_CONFIG"

// configFlags are the flags of a verb that needs a whole configuration.
type configFlags struct {
	file      string
	overrides config.Overrides
}

func (f *configFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "configuration file ($"+configVariable+")")
	flags.StringVar(&f.overrides.Upstream, "upstream", "", "URL of the backend; enough without a file ($ONCEWAY_UPSTREAM)")
	flags.StringVar(&f.overrides.Listen, "listen", "", "address for clients ($ONCEWAY_LISTEN)")
	flags.StringVar(&f.overrides.Store, "store", "", "sqlite:PATH or postgres://… ($ONCEWAY_STORE)")
	flags.StringVar(&f.overrides.AdminListen, "admin-listen", "", "address for operators ($ONCEWAY_ADMIN_LISTEN)")
	flags.StringVar(&f.overrides.LogLevel, "log-level", "", "debug, info, warn or error ($ONCEWAY_LOG_LEVEL)")
	flags.StringVar(&f.overrides.LogFormat, "log-format", "", "json or text ($ONCEWAY_LOG_FORMAT)")
}

// load returns the configuration that flags, environment and file make. The error has exit code 3.
func (f *configFlags) load() (*config.Config, error) { return f.read(config.Source{}) }

// loadToServe is load for who needs what the configuration names, too: files, also those of the store's DSN, which only the
// gateway's own machine has.
func (f *configFlags) loadToServe() (*config.Config, error) {
	return f.read(config.Source{Files: os.ReadFile, DSN: readDSN})
}

// read completes src, which says what is looked into beyond the file itself.
func (f *configFlags) read(src config.Source) (*config.Config, error) {
	src.File, src.Lookup, src.Variables, src.Overrides = f.file, os.LookupEnv, settingVariables(), f.overrides
	if src.File == "" {
		src.File = os.Getenv(configVariable)
	}
	if src.File != "" {
		data, err := os.ReadFile(src.File)
		if err != nil {
			return nil, &configError{err}
		}
		src.Data = data
	}
	return config.Load(src)
}

// settingVariables returns the names in the environment without those that are no settings.
func settingVariables() (names []string) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != configVariable && name != adminTokenVariable {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// loadPart is load for a verb that needs a single setting, such as the store. Where there is no file
// and no upstream, it does not ask for one.
func (f *configFlags) loadPart() (*config.Config, error) {
	return f.readPart(config.Source{})
}

// loadStore is loadPart for a verb that opens the store.
func (f *configFlags) loadStore() (*config.Config, error) {
	return f.readPart(config.Source{DSN: readDSN})
}

func (f *configFlags) readPart(src config.Source) (*config.Config, error) {
	if f.file == "" && os.Getenv(configVariable) == "" && f.overrides.Upstream == "" {
		f.overrides.Upstream = "http://127.0.0.1:9" // the discard port: nothing is ever sent there
	}
	return f.read(src)
}
