package main

import "time"

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
		edits: change(`if seen.Attempt.ID != c.attempt.ID ||`, `if true || seen.Attempt.ID != c.attempt.ID ||`)},
	{name: "result wakes who came after its submitter", file: "idempotency/item.go", pkg: "idempotency", test: "TestAResultWakesItsOwnSubmitterOnly",
		edits: change("	if it.state == waiting {\n		it.state = finished\n		it.result, it.err = r, err", "	if it.ready != nil {\n		it.result, it.err = r, err")},
	{name: "other operations' results believed", file: "idempotency/committer.go", pkg: "idempotency", test: "TestResultsOfOtherOperationsAreNotBelieved",
		edits: change(`results[i].Record.ID != it.op {`, `results[i].Record.ID != it.op && false {`)},
	{name: "outcomes wait behind claims", file: "idempotency/lane.go", pkg: "idempotency", test: "TestOneLaneTakesOutcomesFirst",
		edits: change("	if it.perishable {\n		l.then = append(l.then, it)", "	if true {\n		l.then = append(l.then, it)")},
	{name: "small batches beside each other", file: "idempotency/lane.go", pkg: "idempotency", test: "TestNearStore",
		edits: change(`if beside > int(`, `if beside > 3+int(`)},
	{name: "a batch that hangs holds all others", file: "idempotency/lane.go", pkg: "idempotency", test: "TestNearStore",
		edits: change(`lateness = 10 * time.Millisecond`, `lateness = time.Hour`)},
	{name: "busy hours make a store look far", file: "idempotency/lane.go", pkg: "idempotency", test: "TestFarStore",
		edits: change(`if p.now == 0 || took < p.now {`, `if true {`)},
	{name: "large batches make a store look far", file: "idempotency/lane.go", pkg: "idempotency", test: "TestLargeBatchesMakeNoStoreFar",
		edits: change(`if items > small {`, `if false {`)},
	{name: "a batch that nobody waits for makes a store look near", file: "idempotency/lane.go", pkg: "idempotency", test: "TestAbandonedBatchMakesNoStoreNear",
		edits: change("return other == f })\n", "return other == f })\n	l.pace.note(time.Since(f.since))\n")},
	{name: "fingerprint not compared", file: "idempotency/ruling.go", pkg: "idempotency", test: "TestMismatchAtTheSameMoment",
		edits: change(`if r.Fingerprint != f {`, `if false {`)},
	{name: "old key executed though its record was purged meanwhile", file: "idempotency/engine.go", pkg: "idempotency", test: "TestTooOldAndPurged", quick: true,
		edits: change(`Further: r.TooOld != nil, `, ``)},
	{name: "further attempt makes a record", file: "idempotency/table.go", pkg: "idempotency", test: "TestTooOldAndPurged",
		edits: change(`if t.Further || env.lacks(t.KeyDate) {`, `if env.lacks(t.KeyDate) {`)},
	{name: "purged record of an old key taken for one that was lost", file: "idempotency/engine.go", pkg: "idempotency", test: "TestTooOldAndPurged",
		edits: change(`!r.KeyDate.IsZero() && r.TooOld == nil {`, `!r.KeyDate.IsZero() {`)},
	{name: "old key without a record is cancelled", file: "idempotency/cancel.go", pkg: "idempotency", test: "TestCancel",
		edits: change(`if tooOld {`, `if tooOld && false {`)},
	{name: "cancelled though it is out", file: "idempotency/cancel.go", pkg: "idempotency", test: "TestCancelWhatIsOutThoughTheStoreForgotIt",
		edits: change(`if rec, ok := e.sentFromHere(id); ok {`, `if rec, ok := e.sentFromHere(id); ok && false {`)},
	{name: "executed all the same, and shown as cancelled", file: "idempotency/cancel.go", pkg: "idempotency", test: "TestCancelWhatWasExecutedAllTheSame",
		edits: change(`holds := res.Record.Believed() == Cancelled`, `holds := res.Record.State == Cancelled`)},
	{name: "forgotten content comes back", file: "idempotency/erased.go", pkg: "idempotency", test: "TestForgottenStaysForgotten", quick: true,
		edits: change(`if asOf.After(p.last) {`, `if true {`)},
	{name: "what was read to be forgotten is recalled", file: "idempotency/engine.go", pkg: "idempotency", test: "TestForgottenStaysForgotten",
		edits: change("	e.forget(&r)\n", "")},
	{name: "what was acknowledged here is recalled", file: "idempotency/engine.go", pkg: "idempotency", test: "TestForgottenStaysForgotten",
		edits: change("		e.forget(r)\n", "")},
	{name: "what the feed told to be forgotten is recalled", file: "idempotency/engine.go", pkg: "idempotency", test: "TestForgottenStaysForgotten",
		edits: change(`	f.seen = e.forget`, `	_ = e.forget`)},
	{name: "former revision of a contradicted record is recalled", file: "idempotency/engine.go", pkg: "idempotency", test: "TestContradictedRecordsAreNotRecalled",
		edits: change(`r.State == Forgotten || r.State == Completed && r.Contradicted {`, `r.State == Forgotten {`)},
	{name: "who waits for a change is told what he has", file: "idempotency/wait.go", pkg: "idempotency", test: "TestCompletedRecordsAreRecalled",
		edits: change(`ok && (wait <= 0 || enough(rec))`, `ok`)},
	{name: "who waits is told not executed after all has been executed", file: "idempotency/wait.go", pkg: "idempotency", test: "TestWaiterGetsItsOwnAttempt",
		edits: change("	switch rec.State {\n	case Completed, Forgotten, Cancelled, Unknown:", "	switch NotExecuted {\n	case Completed, Forgotten, Cancelled, Unknown:")},
	{name: "look-up answered by an earlier read", file: "idempotency/reads.go", pkg: "idempotency", test: "TestALookUpIsNotAnsweredByAnEarlierRead",
		edits: change(`	records, err := r.find(ctx, ids)
	for`, `	records, err := r.find(ctx, ids)
	r.mu.Lock()
	for len(r.waiting) > 0 && indexOf(ids, r.waiting[0].id) >= 0 {
		r.waiting[0].place = indexOf(ids, r.waiting[0].id)
		batch, r.waiting = append(batch, r.waiting[0]), r.waiting[1:]
	}
	r.mu.Unlock()
	for`)},
	{name: "each look-up a read of its own", file: "idempotency/reads.go", pkg: "idempotency", test: "TestLookUpsShareReads",
		edits: change(`recordsOfRead = 2 * bodiesAtOnce`, `recordsOfRead = 1`)},
	{name: "failing look-up fails its company", file: "idempotency/reads.go", pkg: "idempotency", test: "TestAFailingLookUpFailsAlone",
		edits: change(`if !l.inCompany || !time.Now().Before(end) {`, `if true {`)},
	{name: "read that hangs holds who comes later", file: "idempotency/reads.go", pkg: "idempotency", test: "TestAReadThatHangs",
		edits: change(`r.hurry = len(r.waiting) > 0`, `r.hurry = false`)},
	{name: "look from before believed", file: "idempotency/watch.go", pkg: "idempotency", test: "TestLateWaiterLooksForItself",
		edits: change(`s.w.round > s.since`, `s.w.round > 0`)},
	{name: "change during a look is lost", file: "idempotency/committer.go", pkg: "idempotency", test: "TestAChangeDuringALook",
		edits: change(`(*written)(&results[i].Record)`, `_ = written`)},
	{name: "changes made here are polled for", file: "idempotency/committer.go", pkg: "idempotency", test: "TestAChangeHereIsNotPolledFor", quick: true,
		edits: change(`(*written)(&results[i].Record)`, `_ = written`)},
	{name: "looks become seldom", file: "idempotency/watch.go", pkg: "idempotency", test: "TestLooksStayFrequent",
		edits: change(`lastPause  = 160 * time.Millisecond`, `lastPause  = 1600 * time.Millisecond`)},
	{name: "first failed look ends all waits", file: "idempotency/watch.go", pkg: "idempotency", test: "TestWaitersOutlastARestart", quick: true,
		edits: []edit{{`time.Since(latest(s.w.since, s.taken)) >= ws.away`, `true`}, {`news = now.Sub(w.since) >= ws.away`, `news = true`}}},
	{name: "store that failed once is away", file: "idempotency/watch.go", pkg: "idempotency", test: "TestWaitersOutlastARestart",
		edits: change("			if w.err == nil {\n				w.since = begun\n			}\n", "			if w.since.IsZero() {\n				w.since = begun\n			}\n")},
	{name: "waits do not hear that the store is away", file: "idempotency/watch.go", pkg: "idempotency", test: "TestAwaitWithoutAStore",
		edits: change(`news = now.Sub(w.since) >= ws.away`, `news = false`)},
	{name: "last look that fails is the answer", file: "idempotency/wait.go", pkg: "idempotency", test: "TestAWaitThatEndsDuringARestart",
		edits: change(`return err != nil && time.Since(begun) < e.committer.o.Timeout`, `return false`)},
	{name: "cursor not bound to its caller", file: "idempotency/feedcursor.go", pkg: "idempotency", test: "TestCursors", quick: true,
		edits: change("	h.Write([]byte(caller))\n", "")},
	{name: "cursor not bound to its filter", file: "idempotency/feedcursor.go", pkg: "idempotency", test: "TestCursors",
		edits: change("	h.Write(binary.BigEndian.AppendUint16(nil, uint16(states)))\n", "")},
	{name: "list that waits has a record twice", file: "idempotency/feedhub.go", pkg: "idempotency", test: "TestAListThatWaitsHasEachRecordOnce",
		edits: change(`if !seen[c.Record.ID] {`, `if true {`)},
	{name: "frozen store is news", file: "idempotency/feedhub.go", pkg: "idempotency", test: "TestAListThatWaitsForABrokenStore",
		edits: change(`w.end && time.Since(s.hub.asked) < feedStale`, `w.end`)},
	{name: "what leaves a state is not reported", file: "idempotency/feedreading.go", pkg: "idempotency", test: "TestWhatLeavesAStateIsReported",
		edits: change(" || c.Place.Commit > r.at.listed && c.Record.Been&r.states != 0", "")},
	{name: "who comes back hears of what is over", file: "idempotency/feedreading.go", pkg: "idempotency", test: "TestAListThatWaitsHasEachRecordOnce",
		edits: change("latest := list || over", "latest := list")},
	{name: "follower not told that it has caught up", file: "idempotency/feedhub.go", pkg: "idempotency", test: "TestFollowersHearThatTheyHaveCaughtUp",
		edits: change("; s.end && s.behind {", "; false {")},
	{name: "follower begins later than it has read", file: "idempotency/feedhub.go", pkg: "idempotency", test: "TestASlowFollowerReadsByHimself",
		edits: change("!begun || p.history != w.history || p.place.Compare(w.from) < 0", "!begun")},
	{name: "stream waits for a client that does not read", file: "gateway/reconcile/stream.go", pkg: "gateway/reconcile", test: "TestEventsWaitForNobodyForLong",
		edits: change("_ = e.control.SetWriteDeadline(time.Now().Add(eventPatience))", "")},
	{name: "reader believes anybody's stream", file: "client/feed.go", pkg: "client", test: "TestEachConnectionGoesOnWhereTheOneBeforeEnded",
		edits: change(`; signed {`, `; signed || true {`)},
	{name: "reader takes what was cut short", file: "client/feed.go", pkg: "client", test: "TestEachConnectionGoesOnWhereTheOneBeforeEnded",
		edits: change("return nil // damaged on its way: it comes again", "_ = err")},
	{name: "stream for who prefers a list", file: "gateway/reconcile/accept.go", pkg: "gateway/reconcile", test: "TestWantsEvents",
		edits: change(`weight > 0 && weight >= weightOf(h, "application/json", "application/*", "*/*")`, `weight > 0`)},
	{name: "list looks at the id of an event", file: "gateway/reconcile/changes.go", pkg: "cmd/onceway/e2e", test: "TestList",
		edits: change(`events && last != nil`, `last != nil`)},
	{name: "feed asks on though nobody follows", file: "idempotency/feedhub.go", pkg: "idempotency", test: "TestManyFollowersShareQueries",
		edits: change("s.seats == 0 && now.Sub(s.idle) > feedLinger", "s.seats == 0 && now.Sub(s.idle) > 1000*feedLinger")},
	{name: "one flipped byte goes unnoticed", file: "idempotency/record.go", pkg: "idempotency", test: "TestSealDetectsEveryFlippedByte",
		edits: change(`|| r.seal(fields) != seal {`, `{`)},
	{name: "overdue attempts never in doubt", file: "idempotency/record.go", pkg: "idempotency", test: "TestDerive",
		edits: change(`} else if now.After(r.Deadline.Add(lease)) {`, `} else if false {`)},

	// The client.
	{name: "client tells a refusal while copies are on their way", file: "client/step.go", pkg: "client", test: "TestExploreEverything", quick: true,
		edits: change(`		s.State, s.Refused = Cancelling, true`, `		return s.settle(OutcomeRefused, true)`)},
	{name: "client sends where a question was refused", file: "client/step.go", pkg: "client", test: "TestVectors", quick: true,
		edits: change(`case c != send && a.state == stateRejected:`, `case false:`)},
	{name: "client sends before it has stored", file: "client/drive.go", pkg: "cmd/onceway/e2e", test: "TestClientKilledAtEachStep",
		edits: change(`	if durable(f.entry.Standing, to) {`, `	if false {`)},
	{name: "client keeps credentials on disk", file: "client/client.go", pkg: "cmd/onceway/e2e", test: "TestClientRefreshesItsToken",
		edits: change(`			delete(e.Header, name)`, ``)},
	{name: "client believes whoever answers", file: "client/answer.go", pkg: "cmd/onceway/e2e", test: "TestClientBelievesOnlyTheGateway",
		edits: change("		return a\n	}\n	a.signed = true", "		a.state, a.signed, a.next = \"executed\", true, done\n		return a\n	}\n	a.signed = true")},
	{name: "client takes a doubt for a cancellation", file: "client/step.go", pkg: "cmd/onceway/e2e", test: "TestGoClientOverTheTransport",
		edits: change("	case s.State == Doubt && a.next == resend:\n", "	case s.State == Cancelling && a.next == reconcile:\n		return s.settle(OutcomeCancelled, false)\n	case s.State == Doubt && a.next == resend:\n")},
	{name: "gateway tells those who cancel too late to stop", file: "gateway/reconcile/change.go", pkg: "gateway", test: "TestVectorsAreWhatTheGatewaySays",
		edits: change(`problem.NewTooLate(problem.OfRecord(rec.Believed()), nextOf(rec))`, `problem.NewTooLate(problem.OfRecord(rec.Believed()), problem.Stop)`)},

	{name: "key in a path decoded twice", file: "gateway/strict/bind.go", pkg: "gateway/strict", test: "TestSetParam", quick: true,
		edits: change(`	u.RawPath = ""
`, ``)},
	{name: "filter that nobody applies", file: "gateway/admin/api.go", pkg: "gateway/admin", test: "TestLists",
		edits: change(`; known != nil && err != nil {`, `; known != nil && err != nil && false {`)},
	{name: "answers that others share decorated in place", file: "gateway/decorate/decorate.go", pkg: "gateway/decorate", test: "TestOrders", quick: true,
		edits: change(`mine := copyOf(said)`, `mine := said`)},
	{name: "a backend's problem replaced by ours", file: "gateway/decorate/decorate.go", pkg: "gateway/decorate", test: "TestDocuments",
		edits: change(`Content: []*yaml.Node{schema, ours}`, `Content: []*yaml.Node{ours}`)},
	{name: "base path of a server ignored", file: "gateway/decorate/match.go", pkg: "gateway/decorate", test: "TestMatching",
		edits: change(`below(u.EscapedPath(), filled(path))`, `filled(path)`)},
	{name: "anchors decorated for all who use them", file: "gateway/decorate/node.go", pkg: "gateway/decorate", test: "TestDocuments",
		edits: change("		*n = *copyOf(n.Alias)\n", "		*n = *n.Alias\n")},
	{name: "callers not asked for their names", file: "gateway/reconcile/handler.go", pkg: "cmd/onceway/e2e", test: "TestQueryOfOtherCallers",
		edits: change(`		if ofCallers {`, `		if ofCallers && p.Has("key") {`)},
	{name: "generated code answers for itself", file: "gateway/strict/bind.go", pkg: "gateway", test: "TestGeneratedServerAnswersAsWeDo",
		edits: change(`refused.Code != http.StatusBadRequest`, `refused.Code != http.StatusTeapot`)},
	{name: "list field in several lines refused", file: "gateway/reconcile/handler.go", pkg: "gateway", test: "TestGeneratedServerAnswersAsWeDo",
		edits: change(`		strict.JoinLines(c)
`, ``)},
	{name: "limit without a memory", file: "gateway/limit/callers.go", pkg: "gateway/limit", test: "TestRequestsPerSecond", quick: true,
		edits: change(`	return c.take()`, `	return c.take() || true`)},
	{name: "doubts of a caller not counted", file: "gateway/limit/callers.go", pkg: "gateway/limit", test: "TestUnsettled",
		edits: change(`if cs.o.Unsettled > 0 && !open {`, `if false {`)},
	{name: "limits refuse what is settled", file: "idempotency/engine.go", pkg: "cmd/onceway/e2e", test: "TestUnsettledOfACaller",
		edits: change(`		err = r.Refusal
	}
	return d, err`, `		err = r.Refusal
	}
	return d, r.Refusal`)},
	{name: "questions take the connections of requests", file: "idempotency/postgres/find.go", pkg: "idempotency/postgres", test: "TestAskHasItsOwnConnections",
		edits: change(`return s.findBy(ctx, s.asks, ids)`, `return s.findBy(ctx, s.claims, ids)`)},
	{name: "engine asks as if it had a request", file: "idempotency/engine.go", pkg: "idempotency", test: "TestWhoAsks", quick: true,
		edits: change(`		e.ask = s.Ask`, `		_ = s`)},
	{name: "credentials meant for another page", file: "gateway/cors/answer.go", pkg: "gateway/cors", test: "TestAnswer", quick: true,
		edits: change(`		delete(h, allowCredentials)`, ``)},
	{name: "any origin with the right end is listed", file: "gateway/cors/policy.go", pkg: "gateway/cors", test: "TestPolicyLists",
		edits: change(`if !ok || name == "" {`, `if ok || name == "" {
		return ok`)},

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
	{name: "answer told that the spool refused", file: "idempotency/keeping.go", pkg: "idempotency", test: "TestASpoolThatDoesNotTake",
		edits: change(`return durable && x.tellKept(entry)`, `return (durable || true) && x.tellKept(entry)`)},
	simulated("I8: execution does not end after the store was silent", "idempotency/execution.go", "I8",
		edit{"	case !isRolledBack(err): // written, or given up with the committer\n		x.land(res.Record, asOf)", "	case !isRolledBack(err):"}),

	// The gateway. Those that need a process are noticed by tests that count effects on the backend's ledger.
	{name: "doubt treated as release", file: "gateway/settle.go", pkg: "gateway", test: "TestSettle",
		edits: change(`return settlement{move: doubt, cause: o.Cause, timedOut: o.Timeout}`, `return settlement{move: release, cause: o.Cause}`)},
	{name: "broken pipe of the log ends the process", file: "cmd/onceway/serve.go", pkg: "cmd/onceway/e2e", test: "TestTheLogsReaderLeaves",
		edits: change(`signal.Ignore(syscall.SIGPIPE)`, `signal.Reset(syscall.SIGPIPE)`)},
	{name: "end waits for the log's reader", file: "cmd/onceway/linewriter.go", pkg: "cmd/onceway", test: "TestStoppingDoesNotWaitForAStuckReader",
		edits: change(`time.NewTimer(within)`, `time.NewTimer(60 * within)`)},
	{name: "readiness without the schema", file: "cmd/onceway/server.go", pkg: "cmd/onceway/e2e", test: "TestReadyOnlyWithItsSchema",
		edits: change(`return migrations.Check(ctx, s.config.Store)`, `return ctx.Err()`)},
	{name: "lock by the name of a link", file: "idempotency/sqlite/file.go", pkg: "idempotency/sqlite", test: "TestOneProcessByAnotherName",
		edits: change(`	case names(info) > 1:`, `	case true:
		return path, nil
	case names(info) > 1:`)},
	{name: "lease without the file", file: "idempotency/sqlite/lease.go", pkg: "idempotency/sqlite", test: "TestALeaseNeedsTheFile",
		edits: change(`return s.InPlace()`, `return nil`)},
	{name: "lease not given back by a broken connection", file: "idempotency/postgres/lease.go", pkg: "idempotency/postgres", test: "TestGivingBackByABrokenConnection",
		edits: change(`errors.As(err, &broken) {
		s.leases.Reset()`, `errors.As(err, &broken) && err == nil {
		s.leases.Reset()`)},
	{name: "reply before record", file: "gateway/protected.go", pkg: "cmd/onceway/e2e", test: "TestNoByteOfAnAnswerBeforeItIsCommitted",
		edits: change(`res.outcome = e.x.Complete(res.response)`, `go e.x.Complete(res.response)
		res.outcome = idempotency.Outcome{Record: idempotency.Record{ID: e.in.id, Operation: e.in.operation, State: idempotency.Completed,
			Attempt: e.x.Attempt(), Response: res.response, Expires: e.expires}}`)},
	{name: "client's departure cancels the call", file: "gateway/protected.go", pkg: "cmd/onceway/e2e", test: "TestClientGoneMidCall",
		edits: change(`e.b.up.Send(e.g.work, e.outbound(`, `e.b.up.Send(r.Context(), e.outbound(`)},
	{name: "who waits is told that the backend was not reached", file: "gateway/answer.go", pkg: "gateway", test: "TestWaiterAtAnotherGateway",
		edits: change(`status := statusOf(cause); status != 0 || cause == "" {`, `status := statusOf(cause); false {`)},
	{name: "waiter becomes executor", file: "gateway/protected.go", pkg: "cmd/onceway/e2e", test: "TestWaitersNeverBecomeExecutors",
		edits: change("	e.ev.WaitTook = time.Since(start)\n", `	e.ev.WaitTook = time.Since(start)
	if o.Record.State == idempotency.NotExecuted || o.Record.State == idempotency.Unknown {
		e.b.up.Send(g.work, &upstream.Request{Method: "POST", Target: e.in.target, Host: "again", Body: e.in.body, MaxBody: 1 << 20,
			Fields: []upstream.Field{{Name: problem.HeaderOperation, Value: e.in.id.String()}, {Name: problem.HeaderAttempt, Value: "2"}, {Name: "Idempotency-Key", Value: string(e.in.operation.Key)}}})
	}
`)},
	{name: "claim before the checks", file: "gateway/protected.go", pkg: "cmd/onceway/e2e", test: "TestOverloadRefusesBeforeTheClaim",
		edits: change(`		Refusal: g.mayStart(in, now, free), TooOld: g.tooOld(in, now),
`, ``)},
	{name: "answers do not count in body_budget", file: "gateway/budget.go", pkg: "cmd/onceway/e2e", test: "TestBodyBudgetOfAnswers", says: "of memory",
		edits: change(`if b.used.Add(n) > b.limit {`, `if false {`)},
	{name: "slow client keeps an answer from a file in memory", file: "gateway/answer.go", pkg: "cmd/onceway/e2e", test: "TestBodyBudgetOfAnswers", says: "of memory",
		edits: change(`res.outcome, res.response, rec.Response, e.x = idempotency.Outcome{}, nil, nil, nil`, `res.outcome, res.response = idempotency.Outcome{}, nil`)},
	{name: "span of who is told of an attempt does not link to it", file: "gateway/answer.go", pkg: "cmd/onceway/e2e", test: "TestDuplicatesLinkToTheAttemptThatTheyAreToldOf",
		edits: change("problem.Problem, rec idempotency.Record) {\n	e.ev.Link(rec.Trace)\n", "problem.Problem, rec idempotency.Record) {\n")},
	{name: "metrics wait for the store", file: "gateway/telemetry/store.go", pkg: "gateway/telemetry", test: "TestMetricsDoNotWaitForTheStore",
		edits: change(`ctx, cancel := context.WithTimeout(ctx, storePatience)`, `ctx, cancel := context.WithTimeout(ctx, 3*storePatience)`)},
	{name: "what net/http could not read is quoted in the log", file: "gateway/telemetry/nethttp.go", pkg: "cmd/onceway/e2e", test: "TestSecretsStayOutOfTelemetry|TestGreetingsStayOutOfTheLog",
		edits: change(`said = known`, `said = string(message)`)},
	{name: "the proxy's error log is not filtered", file: "gateway/passthrough.go", pkg: "cmd/onceway/e2e", test: "TestSecretsStayOutOfTelemetry",
		edits: change(`telemetry.NetHTTP(g.log)`, `slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)`)},
	{name: "drain does not wait for attempts", file: "cmd/onceway/server.go", pkg: "cmd/onceway/e2e", test: "TestDrainWithAHundredInFlight|TestRollingRestartsBehindHAProxy",
		edits: change(`_ = s.engine.Drain(within)`, `cancel()`)},
	{name: "clients stay while a gateway drains", file: "gateway/gateway.go", pkg: "cmd/onceway/e2e", test: "TestDrainSendsClientsAway",
		edits: change(`func (g *Gateway) Leave() { g.leaving.Store(true) }`, `func (g *Gateway) Leave() {}`)},
	{name: "rest of a body taken for a request", file: "gateway/recorder.go", pkg: "gateway", test: "TestABodyNeverBecomesARequest",
		edits: change(`w.Header().Set("Connection", "close")`, `_ = status`)},
	{name: "answer told although the store did not take it", file: "gateway/answer.go", pkg: "cmd/onceway/e2e", test: "TestAnAnswerThatCannotBeRecordedIsNotTold",
		edits: change("	if res.outcome.Err != nil {\n", `	if res.outcome.Err != nil && res.move == complete {
		e.replay(w, idempotency.Record{ID: e.in.id, State: idempotency.Completed, Response: res.response, Attempt: e.x.Attempt(), Expires: e.expires}, problem.Executed, nil)
		return
	}
	if res.outcome.Err != nil {
`)},

	// The dispatcher.
	{name: "pooled transport that sends again", file: "gateway/upstream/send.go", pkg: "gateway/upstream", test: "TestARequestIsExecutedOnce", says: "want Unknown",
		edits: change("	if c.link != nil {\n		return c.link.exchange(ctx, t, r)\n	}\n", `	if req, _, err := t.prepare(ctx, r); err == nil {
		req.Header["Idempotency-Key"] = []string{"key"}
		resp, err := t.pass.RoundTrip(req)
		if err != nil {
			return classify(evidence{step: stepExchange, err: err})
		}
		a, cause, err := receive(resp, r, t.up.o.SpillDir)
		if err != nil {
			return classify(evidence{step: stepRead, cause: cause, err: err})
		}
		return a
	}
`)},
	{name: "doubt tried on a fresh connection", file: "gateway/upstream/send.go", pkg: "gateway/upstream", test: "TestARequestIsExecutedOnce",
		edits: change(`if n, ok := out.(NotSent); !ok || n.Cause != CauseZeroBytes || !c.reused || r.ended(ctx) != nil {`, `if _, ok := out.(Answered); ok || !c.reused || r.ended(ctx) != nil {`)},
	{name: "doubt is not the classifier's default", file: "gateway/upstream/classify.go", pkg: "gateway/upstream", test: "TestClassifyProvesNothingElse",
		edits: change(`case e.step == stepExchange && e.exclusive && e.sealed && !e.wrote:`, `case e.step == stepExchange && !e.wrote:`)},
	{name: "stream that was begun counts as none", file: "gateway/upstream/request.go", pkg: "gateway/upstream", test: "TestARequestIsExecutedOnce", says: "want Unknown",
		edits: change("{ p.begun.Store(true) }", "{}")},
	{name: "absence of a stream believed while one may come", file: "gateway/upstream/classify.go", pkg: "gateway/upstream", test: "TestClassifyProvesNothingElse",
		edits: change(`e.unopened && e.ended == nil:`, `e.unopened:`)},
	{name: "counter read before it is sealed", file: "gateway/upstream/socket.go", pkg: "gateway/upstream", test: "TestSeal", within: 30 * time.Second,
		edits: change("	if s.sealed {\n		s.mu.Unlock()\n		return 0, errSealed", "	if false {\n		s.mu.Unlock()\n		return 0, errSealed")},
	{name: "write under way not counted", file: "gateway/upstream/socket.go", pkg: "gateway/upstream", test: "TestAWriteUnderWayCountsAsWritten",
		edits: change("	defer s.mu.Unlock()\n	return s.writing > 0 || s.written > s.mark\n}\n\n// arm", "	defer s.mu.Unlock()\n	return s.written > s.mark\n}\n\n// arm")},
	{name: "any number is a status", file: "gateway/upstream/answer.go", pkg: "gateway/upstream", test: "TestFraming", within: time.Minute,
		edits: change(`return len(line) >= 3 && line[0] != '0' &&`, `return true || len(line) >= 3 && line[0] != '0' &&`)},
	{name: "last chunk is the end, trailers or not", file: "gateway/upstream/chunked.go", pkg: "gateway/upstream", test: "TestCutAtEveryByte",
		edits: change("		err = c.readTrailer()\n", "		c.readTrailer()\n")},
	{name: "response that ends with the connection is final", file: "gateway/upstream/answer.go", pkg: "gateway/upstream", test: "TestFraming",
		edits: change(`!none && resp.ProtoMajor < 2 && resp.ContentLength < 0 &&`, `false && !none && resp.ProtoMajor < 2 && resp.ContentLength < 0 &&`)},
	{name: "truncated response is final", file: "gateway/upstream/answer.go", pkg: "gateway/upstream", test: "TestCutAtEveryByte",
		edits: change("		if err == io.EOF {\n			return n, true, nil", "		if err == io.EOF || err == io.ErrUnexpectedEOF {\n			return n, true, nil")},

	// What becomes of a doubt.
	{name: "contradiction does not block a resend", file: "idempotency/engine.go", pkg: "idempotency", test: "TestResendRefused",
		edits: change(`r.Resend && !rec.Contradicted`, `r.Resend`)},
	{name: "contradiction raises no alarm", file: "idempotency/committer.go", pkg: "idempotency", test: "TestContradictionRaisesTheAlarm",
		edits: change(`} else if contradicts(`, `} else if false && contradicts(`)},
	{name: "contradicted record told as cancelled", file: "idempotency/contradiction.go", pkg: "idempotency", test: "TestContradictedIsInDoubt",
		edits: change(`r.State == NotExecuted || r.State == Cancelled`, `r.State == NotExecuted`)},
	{name: "cookie of the first caller's answer for all who waited", file: "gateway/settle.go", pkg: "gateway", test: "TestSettleForThoseWhoWait", quick: true,
		edits: change(`kept, _ := storable(maps.Clone(a.Header), policy.DropHeaders)`, `kept := maps.Clone(a.Header)`)},
	{name: "a date taken for none", file: "gateway/intake.go", pkg: "gateway", test: "TestEveryDateIsOne",
		edits: change(`if at.IsZero() {`, `if false {`)},
	{name: "first line of a field taken for its value", file: "gateway/intake.go", pkg: "gateway", test: "TestRepresentation",
		edits: change(`strings.Join(h["Content-Encoding"], ", ")`, `h.Get("Content-Encoding")`)},
	{name: "in progress taken for an answer", file: "gateway/settle.go", pkg: "gateway", test: "TestSettleInProgress",
		edits: change(`isDoubt = isDoubt || inProgress`, `_ = inProgress`)},
	{name: "probe: absence believed without a fence", file: "gateway/probe/prove.go", pkg: "gateway/probe", test: "TestProve", quick: true,
		edits: change(`if !fenced(a.Header) || envelope`, `if envelope`)},
	{name: "probe: absence believed before it settled", file: "gateway/probe/prove.go", pkg: "gateway/probe", test: "TestAbsenceSettles",
		edits: change(`if q.Age < p.Settle {`, `if q.Age < 0 {`)},
	{name: "probe: envelope of another operation believed", file: "gateway/probe/prove.go", pkg: "gateway/probe", test: "TestProve",
		edits: change(`case e.Operation != q.Operation:`, `case false:`)},
	{name: "probe: answer replayed that is not whole", file: "gateway/probe/ask.go", pkg: "gateway/probe", test: "TestAsk",
		edits: change(`resp.ContentLength < 0 &&`, `false &&`)},
	{name: "probe: asked while an answer may be in a spool", file: "gateway/probe/prober.go", pkg: "gateway/probe", test: "TestSpooledAnswersComeFirst",
		edits: change(`err != nil || idempotency.MayHoldAnswers(leases)`, `err != nil && leases != nil`)},
	{name: "probe: recorded although its owner came back with an answer", file: "gateway/probe/prober.go", pkg: "gateway/probe",
		test: "TestTheOwnerReturnsWhileItsBackendIsAsked", edits: change(`p.mayBeSpooled(context.WithoutCancel(ctx), rec) || `, ``)},
	{name: "lease acquired without what is in the spool", file: "idempotency/lease.go", pkg: "idempotency", test: "TestALeaseComesWithWhatIsInTheSpool",
		edits: change(`instance.Spool = &spool`, `spool = Spool{}; instance.Spool = &spool`)},
	{name: "SQLite: lease acquired with an empty spool", file: "idempotency/sqlite/instances.go", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change(`depth, oldest := spoolColumns(i.Spool)`, `depth, oldest := spoolColumns(i.Spool); if depth != nil { depth = int64(0) }`)},
	{name: "SQLite: a sweep reads all records", file: "idempotency/sqlite/sql/doubtful.sql", pkg: "idempotency/sqlite", test: "TestNoStatementReadsAWholeTable",
		edits: change(`state IN (1, 4) AND `, ``)},
	{name: "probe: attempt not in the proof", file: "gateway/probe/prober.go", pkg: "gateway/probe", test: "TestAnswersAboutThePast",
		edits: change(`N: rec.Attempt.N, By: "probe", Evidence`,
			`N: func() int { now, _ := p.o.Records.Find(context.Background(), rec.ID); return now.Attempt.N }(), By: "probe", Evidence`)},
	{name: "Postgres: question asked by two gateways", file: "idempotency/postgres/sql/probe_take.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change(`FOR UPDATE SKIP LOCKED`, ``)},

	// The statements of Postgres.
	{name: "Postgres: no attempt in the WHERE of complete", file: "idempotency/postgres/sql/complete_if_own_or_earlier.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("        AND (r.attempt_id = m.attempt_id OR r.resend", "        AND (true OR r.resend")},
	{name: "Postgres: a record told as its claim left it, though it changed since", file: "idempotency/postgres/sql/complete_if_own_in_time.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change(`AND r.revision = (`, `AND 0 < (`)},
	{name: "Postgres: no attempt in the WHERE of release", file: "idempotency/postgres/sql/release_if_own.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("        AND r.attempt_id = m.attempt_id\n", "")},
	{name: "Postgres: doubt overwrites an answer", file: "idempotency/postgres/sql/doubt_if_own_executing.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("r.state = 1 AND r.attempt_id", "r.state IN (1, 2) AND r.attempt_id")},
	{name: "Postgres: claim of an operation in doubt", file: "idempotency/postgres/sql/claim_if_not_executed_or_resend.sql", pkg: "idempotency/postgres", test: "TestWhatHappensBetweenTheRoundsOfABatch",
		edits: change("OR m.resend AND r.state = 4", "OR r.state = 4")},
	{name: "Postgres: further attempt makes a record", file: "idempotency/postgres/moves.go", pkg: "idempotency/postgres", test: "TestPurgedBetweenTheRoundsOfABatch",
		edits: change("range alike(m.first(), sameOfClaim)", "range alike(m.claims, sameOfClaim)")},
	{name: "Postgres: claim with another fingerprint", file: "idempotency/postgres/sql/claim_if_not_executed_or_resend.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change(" AND r.fingerprint = m.fingerprint\n", "\n")},
	{name: "Postgres: executing can be cancelled", file: "idempotency/postgres/sql/cancel_if_not_executed.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("r.state = 3", "r.state IN (1, 3)")},
	{name: "Postgres: lapsed lease revived", file: "idempotency/postgres/sql/lease_renew_if_unlapsed.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("\n    AND i.lease_until > clock_timestamp() + $3::bigint / 6 * interval '1 microsecond'", "")},
	{name: "Postgres: sweep doubts what runs", file: "idempotency/postgres/sql/sweep_doubt_if_orphan.sql", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("        OR NOT COALESCE(", "        OR COALESCE(")},
	{name: "Postgres: feed shows what an earlier commit may still precede", file: "idempotency/postgres/sql/feed_window.sql", pkg: "idempotency/postgres", test: "TestWhatCommitsLateIsHeardOf",
		edits: change("c.xid < pg_snapshot_xmin(pg_current_snapshot())", "c.xid < pg_snapshot_xmax(pg_current_snapshot())")},
	{name: "Postgres: feed goes on after what it has not shown", file: "idempotency/postgres/sql/feed_state.sql", pkg: "idempotency/postgres", test: "TestWhatCommitsLateIsHeardOf",
		edits: change("WHERE c.xid < s.xmin ORDER", "WHERE c.xid < s.xmax ORDER")},
	{name: "Postgres: sweep writes nothing into the feed", file: "idempotency/postgres/sweep.go", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("tx.Exec(ctx, logChanges, ids); err != nil {", "tx.Exec(ctx, logChanges, ids[:0]); err != nil {")},
	{name: "Postgres: one locked record holds up the sweep of the others", file: "idempotency/postgres/sql/sweep_orphans.sql", pkg: "idempotency/postgres",
		test: "TestALockedRecordHoldsUpNoOther", edits: change("FOR UPDATE SKIP LOCKED", "FOR UPDATE")},
	{name: "Postgres: a sweep stops at the first owner with something left", file: "idempotency/postgres/sweep.go", pkg: "idempotency/postgres",
		test: "TestALockedRecordHoldsUpNoOther", edits: change("if !o.id.Valid {", "if !o.id.Valid || first != nil {")},
	{name: "Postgres: an owner is done with although a record of it was locked", file: "idempotency/postgres/sql/sweep_owner_done.sql", pkg: "idempotency/postgres",
		test: "TestALockedRecordHoldsUpNoOther", edits: change("r.state = 1", "r.state = 0")},
	{name: "Postgres: the walk forgets what was locked", file: "idempotency/postgres/sweep.go", pkg: "idempotency/postgres",
		test: "TestTheWalkGoesPastWhatRuns", edits: change("w.hold(locked)", "")},
	{name: "sweeps that fail are told to nobody", file: "idempotency/lease.go", pkg: "idempotency", test: "TestSweepsAreReported",
		edits: change("l.swept(err)", "l.swept(nil)")},
	{name: "Postgres: rare moves write nothing into the feed", file: "idempotency/postgres/apply.go", pkg: "idempotency/postgres", test: "TestConformance",
		edits: change("		q.Queue(logChanges, uuids(b.others))\n", "")},
	{name: "Postgres: feed forgets what is still needed", file: "idempotency/postgres/sql/feed_purge.sql", pkg: "idempotency/postgres", test: "TestTheFeedForgetsWhatNobodyNeeds",
		edits: change("\n    AND NOT EXISTS (SELECT FROM requests r WHERE r.id = ANY(c.ids) AND r.changed = c.xid)", "")},
	{name: "Postgres: purge walks through what cannot have expired", file: "idempotency/postgres/sql/purge_window.sql", pkg: "idempotency/postgres", test: "TestPurgeDoesNotWalkThroughWhatCannotHaveExpired",
		edits: change("($2::bigint + $4::bigint) * interval", "$2::bigint * interval")},
	{name: "Postgres: purge begins anew with each step", file: "idempotency/postgres/retention.go", pkg: "idempotency/postgres", test: "TestPurgeWalksOn",
		edits: change("if seen < limit {", "if seen < limit || len(ids) == 0 {")},
	{name: "Postgres: purge leaves a body of its day", file: "idempotency/postgres/retention.go", pkg: "idempotency/postgres", test: "TestPurgeRemovesABodyThatHasNotGoneWithItsDay",
		edits: change("if len(embodied) > 0 {", "if len(embodied) > len(ids) {")},
	{name: "Postgres: feed is purged before the records", file: "idempotency/postgres/retention.go", pkg: "idempotency/postgres", test: "TestTheFeedIsPurgedAfterTheRecords",
		edits: change("	if !end {\n		return removed, true, nil\n	}\n", "")},
	{name: "Postgres: each partition is tried under a reader", file: "idempotency/postgres/partitions.go", pkg: "idempotency/postgres", test: "TestPurgeAfterWeeks",
		edits: change(`case "42P07", "42P01",`, `case "55P03", "42P07", "42P01",`)},

	{name: "Postgres: a silent server keeps the process", file: "idempotency/postgres/store.go", pkg: "idempotency/postgres", test: "TestASilentServer",
		edits: change("case <-time.After(farewell):", "case <-time.After(60 * farewell):")},

	// Those of SQLite, whose conditions are the core's own.
	{name: "SQLite: feed of another caller", file: "idempotency/sqlite/feed.go", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: []edit{{"if marks[[8]byte(entries[16:entryLength])] && p.Compare", "if p.Compare"}, {" && slices.Contains(q.Callers, r.Operation.Caller) {", " {"}}},
	{name: "SQLite: a copy that was put back takes a later place for its own", file: "idempotency/sqlite/feed.go", pkg: "idempotency/sqlite", test: "TestACopyThatIsPutBackKnowsNothingOfWhatCameLater",
		edits: change("!found || commit > uint64(end)", "!found || end < 0")},
	{name: "SQLite: reports what it did not commit", file: "idempotency/sqlite/sql/commit.sql", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change("COMMIT", "ROLLBACK")},
	{name: "SQLite: purges a contradiction", file: "idempotency/sqlite/sql/expired_requests.sql", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change(" AND contradicted = 0", "")},
	{name: "SQLite: purges what is in doubt", file: "idempotency/sqlite/sql/expired_requests.sql", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change("state IN (2, 3, 5, 6)", "state IN (2, 3, 4, 5, 6)")},
	{name: "SQLite: purges within the grace", file: "idempotency/sqlite/retention.go", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change("now.Add(-s.options.Grace)", "now")},
	{name: "SQLite: no grace for clocks that are wrong", file: "cmd/onceway/store.go", pkg: "cmd/onceway", test: "TestTheEmbeddedStoreKeepsRecordsForTheGrace",
		edits: change("Clock: wallClock, Grace: clockGrace,", "Clock: wallClock,")},
	{name: "SQLite: purge says nothing of bodies that are left", file: "idempotency/sqlite/retention.go", pkg: "idempotency/sqlite", test: "TestPurgeSaysThatThereAreMoreBodies",
		edits: change("	return true, nil\n", "	return false, nil\n")},
	{name: "SQLite: feed is never purged", file: "idempotency/sqlite/retention.go", pkg: "idempotency/sqlite", test: "TestTheFileStaysAsLargeAsWhatIsKept",
		edits: change("		err = s.purgeFeed(ctx)\n", "")},
	{name: "SQLite: overdue attempts never in doubt", file: "idempotency/sqlite/sql/doubtful.sql", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change(" OR deadline < ?3", " OR deadline < 0 * ?3")},
	{name: "SQLite: second answer replaces the evidence", file: "idempotency/sqlite/sql/insert_evidence.sql", pkg: "idempotency/sqlite", test: "TestConformance",
		edits: change("ON CONFLICT (id, attempt, kind) DO NOTHING", "ON CONFLICT (id, attempt, kind) DO UPDATE SET text = 'again'")},

	// The model, by the linearizability of concurrent histories.
	{name: "model: claim not atomic", file: "idempotency/storetest/model.go", pkg: "idempotency/storetest", test: "TestModel", says: "no order of its calls",
		edits: change("	after, changed, evidence := idempotency.Next(stored, t, m.env(stored, now))\n", "	after, changed, evidence := idempotency.Next(stored, t, m.env(stored, now))\n	m.mu.Unlock()\n	time.Sleep(time.Microsecond)\n	m.mu.Lock()\n")},

	// The benchmark, which must not reward what is wrong.
	{name: "benchmark believes whatever was executed", file: "bench/cell.go", pkg: "bench", test: "TestMeasureFailsWhenTheBackendCountsOtherwise",
		edits: change(`if executed < least || executed > most {`, `if false {`)},
	{name: "open loop counts from sending", file: "bench/load.go", pkg: "bench", test: "TestOpenLoopCountsFromArrival",
		edits: change(`c.latency.record(time.Since(at))`, `c.latency.record(time.Since(time.Now()))`)},
}
