package config

import (
	"regexp"
	"strings"
)

// ourPrefix is that of the variables that are the gateway's.
const ourPrefix = "ONCEWAY_"

// serviceVariable matches what Kubernetes, and Docker before it, tell every container of a service that happens to be
// named as the gateway is.
var serviceVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|NAME)$`)

// adviseEnvironment warns of variables that look like settings, and that nobody reads: of ONCEWAY_STOREE nothing else
// would say that the store is another one. They are no errors, for others may have set them, for others.
func (d *decoder) adviseEnvironment(names []string) {
	known := []string{upstreamVariable}
	for _, s := range settings {
		known = append(known, s.variable)
	}
	read := d.asked
	for _, name := range known {
		read[name] = true
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ourPrefix) || read[name] || serviceVariable.MatchString(name) {
			continue
		}
		message := "nothing reads this variable"
		if hint := didYouMeanWithin(2, name, known); hint != "" {
			message += "; " + hint
		} else {
			message += `; to use it, write "${` + printable(name) + `}" into the file`
		}
		d.warnings = append(d.warnings, Warning{File: printable(name), Message: message})
	}
}
