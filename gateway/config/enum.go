package config

import "github.com/onceway/onceway/idempotency"

// Mode says which requests of a route are protected.
type Mode uint8

const (
	ModeRequired Mode = iota // a protected method needs a key
	ModeOptional             // a protected method without a key streams through
	ModeOff                  // everything streams through
)

var modes = []string{"required", "optional", "off"}

func (m Mode) String() string { return modes[m] }

// OnUnknown says what a retry of an operation in doubt does.
type OnUnknown uint8

const (
	OnUnknownHold   OnUnknown = iota // it executes nothing
	OnUnknownProbe                   // as hold, and the backend is asked
	OnUnknownResend                  // it executes again: the backend deduplicates by the key
)

var onUnknowns = []string{"hold", "probe", "resend"}

func (o OnUnknown) String() string { return onUnknowns[o] }

// Absence says what a probe that does not find the operation proves.
type Absence uint8

const (
	AbsenceIgnore Absence = iota // nothing; it is noted as evidence
	AbsenceFenced                // that it was not executed, if the backend confirms to refuse it from now on
	AbsenceSettle                // that it was not executed, once Settle has passed: the weaker promise
)

var absences = []string{"ignore", "fenced", "settle"}

func (a Absence) String() string { return absences[a] }

// MTLSField is the part of a client's certificate that names the caller.
type MTLSField uint8

const (
	MTLSSANURI MTLSField = iota
	MTLSSANDNS
	MTLSSubject
)

var mtlsFields = []string{"san_uri", "san_dns", "subject"}

func (f MTLSField) String() string { return mtlsFields[f] }

var keyDates = []string{
	idempotency.DateUUIDv7: "uuidv7",
	idempotency.DateULID:   "ulid",
	idempotency.DateNone:   "none",
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"json", "text"}
)
