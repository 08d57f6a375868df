package problem

// Answers to operators. Where there is a record, About leads to it on the admin listener.

func NewNoRecord() Problem        { return Problem{Slug: NoRecord} }
func NewEvidenceMissing() Problem { return Problem{Slug: EvidenceMissing} }

// NewAlreadySettled says in which state a record is that was to be resolved.
func NewAlreadySettled(state State, next Next) Problem {
	return Problem{Slug: AlreadySettled, State: state, Next: next}
}

func NewAttemptChanged(detail string) Problem { return Problem{Slug: AttemptChanged, Detail: detail} }

func NewOwnerMayHoldAnswers(detail string) Problem {
	return Problem{Slug: OwnerMayHoldAnswers, Detail: detail}
}

func NewUnsupportedMediaType(detail string) Problem {
	return Problem{Slug: UnsupportedMediaType, Detail: detail}
}
