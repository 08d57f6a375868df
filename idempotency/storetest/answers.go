package storetest

import (
	"bytes"
	"math/rand/v2"

	"github.com/onceway/onceway/idempotency"
)

// testResponses stores answers of every shape and reads them again by each way there is.
func testResponses(w *world) {
	random := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	for name, want := range map[string]*idempotency.Response{
		"no content":      idempotency.NewResponse(204, nil, nil),
		"empty body":      idempotency.NewResponse(200, map[string][]string{"Etag": {`""`}}, []byte{}),
		"text":            response(),
		"binary":          idempotency.NewResponse(200, map[string][]string{"X-Raw": {"\xff\x00 '\"\\"}}, []byte{0, 1, 0xff, 0, '\'', '\\'}),
		"one mebibyte":    idempotency.NewResponse(200, map[string][]string{"Content-Type": {"application/octet-stream"}}, random),
		"many fields":     idempotency.NewResponse(299, manyFields(), []byte("x")),
		"informal status": idempotency.NewResponse(999, nil, []byte("x")),
		"too large":       idempotency.NewResponse(200, nil, random).Bodiless(),
	} {
		w.in(name, func(w *world) {
			o := w.operation()
			a := w.granted(w.claim(o))
			c := complete(a)
			// The store takes nothing over: what it is given must not change under it, nor may it change that.
			given := *want
			given.Body = bytes.Clone(want.Body)
			c.Response = &given
			ways := map[string]idempotency.Record{
				"complete":       w.must(c),
				"complete again": w.must(c),
				"find":           w.find(o.ID()),
				"claim":          w.one(w.claim(o)).Record,
				"other claim":    w.one(other(w.claim(o))).Record,
			}
			for way, r := range ways {
				if err := sameResponse(r.Response, want); err != nil {
					w.Errorf("%s: %v", way, err)
				}
				if (r.State == idempotency.Completed) != want.Replayable || r.Damaged {
					w.Errorf("%s: state %v, damaged %v", way, r.State, r.Damaged)
				}
			}
			if want.Replayable {
				r := w.must(idempotency.Acknowledge{Operation: o.ID()})
				for way, r := range map[string]idempotency.Record{"acknowledge": r, "find": w.find(o.ID())} {
					if err := sameResponse(r.Response, want.Bodiless()); err != nil {
						w.Errorf("forgotten, by %s: %v", way, err)
					}
				}
			}
		})
	}

	w.in("of a resolution", func(w *world) {
		o := w.operation()
		w.must(doubt(w.granted(w.claim(o))))
		t := resolve(o.ID(), 1, idempotency.VerdictExecuted)
		t.Response = response()
		w.must(t)
		r := w.find(o.ID())
		if err := sameResponse(r.Response, response()); err != nil || r.Resolution == nil {
			w.Errorf("response: %v; resolution: %v", err, r.Resolution)
		}
	})
	w.in("unknown to a resolution", func(w *world) {
		o := w.operation()
		w.must(doubt(w.granted(w.claim(o))))
		w.must(resolve(o.ID(), 1, idempotency.VerdictExecuted))
		if r := w.expect(o.ID(), idempotency.Forgotten, 1); r.Response != nil {
			w.Error("a response came out of nothing")
		}
	})
}

func manyFields() map[string][]string {
	h := map[string][]string{}
	for c := 'A'; c <= 'Z'; c++ {
		h["X-"+string(c)] = []string{"1", "2", "", "1"}
	}
	return h
}

// testDamage checks that damaged answers are neither given out nor executed again.
func testDamage(w *world) {
	for name, damage := range w.Damages {
		w.in(name, func(w *world) {
			o, sound := w.operation(), w.operation()
			a := w.granted(w.claim(o))
			w.must(complete(a))
			w.must(complete(w.granted(w.claim(sound))))
			damage(w.T, o.ID())
			for way, r := range map[string]idempotency.Result{
				"find":     {Record: w.find(o.ID())},
				"claim":    w.one(w.claim(o)),
				"resend":   w.one(w.resend(o)),
				"complete": {Record: w.must(complete(a))},
			} {
				if r.Applied || !r.Record.Damaged || r.Record.Response != nil || r.Record.State != idempotency.Completed {
					w.Errorf("%s: %v, damaged %v, applied %v, has response %v", way, r.Record.State, r.Record.Damaged, r.Applied, r.Record.Response != nil)
				}
			}
			if r := w.find(sound.ID()); r.Damaged {
				w.Error("another record is called damaged")
			}
			w.must(idempotency.Acknowledge{Operation: o.ID()})
			if r := w.expect(o.ID(), idempotency.Forgotten, 1); r.Damaged {
				w.Error("what is forgotten cannot be damaged")
			}
		})
	}
}
