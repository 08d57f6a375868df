package main

// simulated is caught by a simulated world, by the invariant that it names. The seeds are those of every
// test run.
func simulated(name, file string, invariant string, edits ...edit) mutant {
	return mutant{name: name, file: file, edits: edits, pkg: "internal/simulator", test: "TestSimulate", says: invariant + " "}
}

// mutants are all broken gateways. Their names say what is wrong with them.
var mutants = []mutant{
	// The core, in unit tests.
	{name: "key without its caller", file: "idempotency/operation.go", pkg: "idempotency", test: "TestOperationIDs", quick: true,
		edits: change(`appendPart(appendPart(stack[:0], string(o.Caller)), string(o.Key))`, `appendPart(stack[:0], string(o.Key))`)},
	{name: "lease not checked before the first byte", file: "idempotency/execution.go", pkg: "idempotency", test: "TestSuspendedProcessDispatchesNothing", quick: true,
		edits: change(`if !x.engine.lease.Holds(x.attempt.Owner) {`, `if false {`)},
	{name: "lease vouched for to its last moment", file: "idempotency/lease.go", pkg: "idempotency", test: "TestNoClaimAfterTwoThirdsWithoutRenewal",
		edits: change(`now-l.renewed < l.length*2/3`, `now-l.renewed < l.length*2`)},
	{name: "cache ignores body_expires", file: "idempotency/engine.go", pkg: "idempotency", test: "TestCacheNeverOutlivesTheBody", quick: true,
		edits: change(`min(cacheTTL, r.BodyExpires.Sub(r.Observed)) - time.Since(asOf)`, `cacheTTL - time.Since(asOf)`)},
	{name: "claim given up is not released", file: "idempotency/abandon.go", pkg: "idempotency", test: "TestClaimThatWasWrittenAfterAllIsReleased",
		edits: change(`if seen.Attempt.ID != a.ID ||`, `if true || seen.Attempt.ID != a.ID ||`)},
	{name: "other operations' results believed", file: "idempotency/committer.go", pkg: "idempotency", test: "TestResultsOfOtherOperationsAreNotBelieved",
		edits: change(`results[i].Record.ID != it.op {`, `results[i].Record.ID != it.op && false {`)},
	{name: "outcomes wait behind claims", file: "idempotency/lane.go", pkg: "idempotency", test: "TestOneLaneTakesOutcomesFirst",
		edits: change("	if it.perishable {\n		l.then = append(l.then, it)", "	if true {\n		l.then = append(l.then, it)")},
	{name: "fingerprint not compared", file: "idempotency/ruling.go", pkg: "idempotency", test: "TestMismatchAtTheSameMoment",
		edits: change(`if r.Fingerprint != f {`, `if false {`)},
	{name: "one flipped byte goes unnoticed", file: "idempotency/record.go", pkg: "idempotency", test: "TestSealDetectsEveryFlippedByte",
		edits: change(`|| r.seal(fields) != seal {`, `{`)},

	// The core, in simulated worlds: each invariant of the simulator catches something.
	simulated("I1: operation in doubt executed again", "idempotency/table.go", "I1",
		edit{`if seen.State == Unknown && !t.Resend || seen.Contradicted ||`, `if seen.Contradicted ||`}),
	simulated("I1: claim not confirmed before dispatch", "idempotency/engine.go", "I1",
		edit{"	switch {\n	case err == nil && !res.Applied && res.Record.Attempt.ID", `	if errors.Is(err, ErrStoreTimeout) {
		attempt.N, err = 1, nil
		res = Result{Applied: true, Record: Record{ID: r.ID, Operation: r.Operation, State: Executing, Attempt: attempt, Fingerprint: r.Fingerprint}}
	}
	switch {
	case err == nil && !res.Applied && res.Record.Attempt.ID`}),
	simulated("I1: lease not checked before the first byte", "idempotency/execution.go", "I1",
		edit{`if !x.engine.lease.Holds(x.attempt.Owner) {`, `if false {`}),
	simulated("I2: cache ignores body_expires", "idempotency/engine.go", "I2",
		edit{`min(cacheTTL, r.BodyExpires.Sub(r.Observed)) - time.Since(asOf)`, `cacheTTL - time.Since(asOf)`}),
	simulated("I6: late answer overwrites what is final", "idempotency/table.go", "I6",
		edit{"	case Completed, Forgotten:\n		if own || earlier {\n			return stay\n		}", "	case Completed, Forgotten:\n		if own || earlier {\n			return move{after: answered(seen, t.Response, t.Retention, env.Now), changed: true}\n		}"}),
	simulated("I3: cut answer is final", "internal/simulator/backend.go", "I3",
		edit{`return outcome{cause: "cut"}, true`, `return outcome{answer: idempotency.NewResponse(201, nil, []byte(body[:len(body)/2]))}, true`}),
	simulated("I4: doubt treated as release", "idempotency/table.go", "I4",
		edit{`	return move{after: doubted(seen, t.Cause, t.Retention, env.Now), changed: true}
}

func (t Resolve)`, `	return move{after: settled(seen, NotExecuted, t.Retention, env.Now), changed: true}
}

func (t Resolve)`}),
	simulated("I4: no attempt in the condition of a release", "idempotency/table.go", "I4",
		edit{`	if seen.Attempt.ID != t.Attempt.ID || seen.State != Executing && seen.State != Unknown {
		return stay
	}
	if seen.Doubted {`, `	if seen.State != Executing && seen.State != Unknown {
		return stay
	}
	if seen.Doubted {`}),
	simulated("I5: key without its caller", "idempotency/operation.go", "I5",
		edit{`appendPart(appendPart(stack[:0], string(o.Caller)), string(o.Key))`, `appendPart(stack[:0], string(o.Key))`}),
	simulated("I5: fingerprint not compared", "idempotency/ruling.go", "I5",
		edit{`if r.Fingerprint != f {`, `if false {`}),
	simulated("I6: lapsed lease revived", "idempotency/storetest/model.go", "I6",
		edit{"	if !m.leased(o, now) {\n		return idempotency.ErrLeaseLost", "	if _, ok := m.leases[o]; !ok {\n		return idempotency.ErrLeaseLost"},
		edit{`if stored.State == idempotency.Executing && seen.State == idempotency.Unknown {`, `if false {`}),
	simulated("I4: operation cancelled while it executes", "idempotency/table.go", "I4",
		edit{"	case Executing, Completed, Unknown, Cancelled, Forgotten:\n		return stay\n	}\n	r = settled(r, Cancelled", "	case Executing:\n	case Completed, Unknown, Cancelled, Forgotten:\n		return stay\n	}\n	r = settled(r, Cancelled"}),
	simulated("I8: overdue attempts never in doubt", "idempotency/record.go", "I8",
		edit{`} else if now.After(r.Deadline.Add(lease)) {`, `} else if false {`}),
	simulated("I8: execution does not end after the store was silent", "idempotency/execution.go", "I8",
		edit{"	case !isRolledBack(err): // written, or given up with the committer\n		x.land(res.Record, asOf)", "	case !isRolledBack(err):"}),
}
