package postgres

import (
	"embed"
	"strings"
)

//go:embed sql/*.sql
var files embed.FS

// One statement per move, its condition in its name.
var (
	settings                   = statement("settings")
	settingsWithoutJoins       = statement("settings_without_joins")
	sessionSettings            = strings.ReplaceAll(settingsWithoutJoins, ", true)", ", false)") + ",\n" + statement("session_settings")
	planEachTime               = statement("settings_plan_each_time")
	sessionDefaults            = statement("session_defaults")
	lockRows                   = statement("lock")
	readRecords                = statement("read")
	readWithPayloads           = statement("read_with_payloads")
	claimIfUnseen              = statement("claim_if_unseen")
	claimIfNotExecutedOrResend = statement("claim_if_not_executed_or_resend")
	completeIfOwnInTime        = statement("complete_if_own_in_time")
	completeIfOwnOrEarlier     = statement("complete_if_own_or_earlier")
	releaseIfOwn               = statement("release_if_own")
	doubtIfOwnExecuting        = statement("doubt_if_own_executing")
	resolveIfUnknown           = statement("resolve_if_unknown")
	noteIfUnknown              = statement("note_if_unknown")
	cancelIfUnseen             = statement("cancel_if_unseen")
	cancelIfNotExecuted        = statement("cancel_if_not_executed")
	acknowledgeIfCompleted     = statement("acknowledge_if_completed")
	importIfUnseen             = statement("import_if_unseen")
	logChanges                 = statement("log_changes")
)

// statement returns an embedded statement without its comments and indentation, which need not travel.
func statement(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // the file is not there at build time
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
