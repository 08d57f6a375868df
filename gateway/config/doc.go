// Package config reads the gateway's one strict YAML file.
//
// It promises that a configuration which loads is complete and free of contradictions, so that no
// other package checks or defaults a setting again, and that everything wrong with a file is said at
// once, with file, line, what is allowed and a hint (see [Error]). Unknown keys, wrong types and
// duplicate keys are errors. What is legal but unwise is a warning (see [Config.Warnings]).
//
// Flags beat the environment, which beats the file, which beats the defaults:
//
//	key               environment               field of Overrides
//	listen            ONCEWAY_LISTEN            Listen
//	store             ONCEWAY_STORE             Store
//	upstreams         ONCEWAY_UPSTREAM          Upstream (the targets of the only upstream)
//	admin.listen      ONCEWAY_ADMIN_LISTEN      AdminListen
//	log.level         ONCEWAY_LOG_LEVEL         LogLevel
//	log.format        ONCEWAY_LOG_FORMAT        LogFormat
//	store_timeout     ONCEWAY_STORE_TIMEOUT
//	lease             ONCEWAY_LEASE
//	drain_delay       ONCEWAY_DRAIN_DELAY
//	drain_timeout     ONCEWAY_DRAIN_TIMEOUT
//	max_wait          ONCEWAY_MAX_WAIT
//	body_budget       ONCEWAY_BODY_BUDGET
//
// An empty variable counts as not set. In the file, ${NAME} inside a string value reads the
// environment and $${ stands for ${ itself; a variable that is not set is an error.
//
// Relative paths in the file, and the default store, resolve against the file's directory; those in
// flags and the environment against the working directory.
//
// Durations are Go's ("1m30s", "250ms"), and may begin with days ("30d", "1d12h"). Sizes are bytes,
// or a number with B, KB, MB, GB, KiB, MiB or GiB.
//
// The package reads neither the environment nor any file: both come in through [Source]. Files that the configuration
// names are looked at only if Source says how, and never make a setting: they are checked.
package config
