package storetest

// The table of moves, spelled out. A cell says what a transition (line) does to a record (column):
//
//	.            nothing, and it does not hold
//	=            nothing, because it holds already
//	state N      the record is now in that state with attempt N; its revision grew by one
//	!            it is kept as a contradiction: the state stays, the revision grows, nothing holds
//
// States are abbreviated: exe(cuting), com(pleted), not(_executed), unk(nown), can(celled), for(gotten).
// Attempts of a column are 1 unless its name says otherwise. "same" means the fingerprint of the record,
// "stranger" an attempt that the record never had, "again" the id of the record's own attempt, "further" a
// claim that is not for a first attempt.

var moves = []struct {
	columns []string
	table   string
}{
	{
		[]string{"unseen", "executing", "orphaned", "overdue", "unknown", "foreign"},
		`
claim same            | exe 1 | .     | .     | .     | .     | .
claim other           | exe 1 | .     | .     | .     | .     | .
claim again           | exe 1 | =     | .     | .     | .     | =
resend same           | exe 1 | .     | exe 2 | exe 2 | exe 2 | .
resend other          | exe 1 | .     | .     | .     | .     | .
resend again          | exe 1 | =     | .     | .     | .     | =
claim further         | .     | .     | .     | .     | .     | .
resend further        | .     | .     | exe 2 | exe 2 | exe 2 | .
further again         | .     | =     | .     | .     | .     | =
complete              | .     | com 1 | com 1 | com 1 | com 1 | com 1
complete bodiless     | .     | for 1 | for 1 | for 1 | for 1 | for 1
complete unknowing    | .     | com 1 | com 1 | com 1 | com 1 | com 1
complete stranger     | .     | !     | !     | !     | !     | !
release               | .     | not 1 | not 1 | not 1 | not 1 | not 1
release stranger      | .     | .     | .     | .     | .     | .
doubt                 | .     | unk 1 | unk 1 | unk 1 | =     | unk 1
doubt stranger        | .     | .     | .     | .     | .     | .
resolve response      | .     | .     | com 1 | com 1 | com 1 | .
resolve executed      | .     | .     | for 1 | for 1 | for 1 | .
resolve not executed  | .     | .     | not 1 | not 1 | not 1 | .
resolve wrong attempt | .     | .     | .     | .     | .     | .
note                  | .     | .     | =     | =     | =     | .
cancel                | can 0 | .     | .     | .     | .     | .
acknowledge           | .     | .     | .     | .     | .     | .
import response       | com 7 | .     | .     | .     | .     | .
import bodiless       | for 7 | .     | .     | .     | .     | .
import claim          | unk 7 | .     | .     | .     | .     | .
import further        | unk 7 | .     | .     | .     | .     | .
`,
	},
	{
		[]string{"completed", "body expired", "acknowledged", "bodiless", "not executed"},
		`
claim same            | .     | .     | .     | .     | exe 2
claim other           | .     | .     | .     | .     | .
claim again           | .     | .     | .     | .     | .
resend same           | .     | .     | .     | .     | exe 2
resend other          | .     | .     | .     | .     | .
resend again          | .     | .     | .     | .     | .
claim further         | .     | .     | .     | .     | exe 2
resend further        | .     | .     | .     | .     | exe 2
further again         | .     | .     | .     | .     | .
complete              | =     | =     | =     | =     | !
complete bodiless     | =     | =     | =     | =     | !
complete unknowing    | =     | =     | =     | =     | !
complete stranger     | !     | !     | !     | !     | !
release               | .     | .     | .     | .     | =
release stranger      | .     | .     | .     | .     | .
doubt                 | .     | .     | .     | .     | .
doubt stranger        | .     | .     | .     | .     | .
resolve response      | .     | .     | .     | .     | .
resolve executed      | .     | .     | .     | .     | .
resolve not executed  | .     | .     | .     | .     | .
resolve wrong attempt | .     | .     | .     | .     | .
note                  | .     | .     | .     | .     | .
cancel                | .     | .     | .     | .     | can 1
acknowledge           | for 1 | for 1 | =     | =     | .
import response       | .     | .     | .     | .     | .
import bodiless       | .     | .     | .     | .     | .
import claim          | .     | .     | .     | .     | .
import further        | .     | .     | .     | .     | .
`,
	},
	{
		[]string{"tombstone 0", "cancelled", "contradicted not executed", "contradicted executing 2", "contradicted unknown 2"},
		`
claim same            | .     | .     | .     | .     | .
claim other           | .     | .     | .     | .     | .
claim again           | .     | .     | .     | =     | .
resend same           | .     | .     | .     | .     | .
resend other          | .     | .     | .     | .     | .
resend again          | .     | .     | .     | =     | .
claim further         | .     | .     | .     | .     | .
resend further        | .     | .     | .     | .     | .
further again         | .     | .     | .     | =     | .
complete              | !     | !     | .     | com 2 | com 2
complete bodiless     | !     | !     | .     | for 2 | for 2
complete unknowing    | !     | !     | .     | com 2 | com 2
complete stranger     | !     | !     | .     | .     | .
release               | .     | =     | =     | not 2 | not 2
release stranger      | .     | .     | .     | .     | .
doubt                 | .     | .     | .     | unk 2 | =
doubt stranger        | .     | .     | .     | .     | .
resolve response      | .     | .     | .     | .     | com 2
resolve executed      | .     | .     | .     | .     | for 2
resolve not executed  | .     | .     | .     | .     | not 2
resolve wrong attempt | .     | .     | .     | .     | .
note                  | .     | .     | .     | .     | =
cancel                | =     | =     | .     | .     | .
acknowledge           | .     | .     | .     | .     | .
import response       | .     | .     | .     | .     | .
import bodiless       | .     | .     | .     | .     | .
import claim          | .     | .     | .     | .     | .
import further        | .     | .     | .     | .     | .
`,
	},
	{
		[]string{"resent 2", "resent unknown 2", "resent orphaned 2", "resent completed 2"},
		`
claim same            | .     | .     | .     | .
claim other           | .     | .     | .     | .
claim again           | =     | .     | .     | .
resend same           | .     | exe 3 | exe 3 | .
resend other          | .     | .     | .     | .
resend again          | =     | .     | .     | .
claim further         | .     | .     | .     | .
resend further        | .     | exe 3 | exe 3 | .
further again         | =     | .     | .     | .
complete              | com 2 | com 2 | com 2 | =
complete bodiless     | for 2 | for 2 | for 2 | =
complete unknowing    | com 2 | com 2 | com 2 | =
complete stranger     | !     | !     | !     | !
complete earlier      | com 2 | com 2 | com 2 | =
release               | unk 2 | =     | =     | .
release stranger      | .     | .     | .     | .
release earlier       | =     | =     | =     | =
doubt                 | unk 2 | =     | unk 2 | .
doubt stranger        | .     | .     | .     | .
doubt earlier         | .     | .     | .     | .
resolve response      | .     | com 2 | com 2 | .
resolve executed      | .     | for 2 | for 2 | .
resolve not executed  | .     | not 2 | not 2 | .
resolve wrong attempt | .     | .     | .     | .
note                  | .     | =     | =     | .
cancel                | .     | .     | .     | .
acknowledge           | .     | .     | .     | for 2
import response       | .     | .     | .     | .
import bodiless       | .     | .     | .     | .
import claim          | .     | .     | .     | .
import further        | .     | .     | .     | .
`,
	},
}
