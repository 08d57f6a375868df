package admin

import (
	"net/http"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Instances are gateway processes, one item for each lease: those that are alive first, then those whose
// processes may hold answers.
type Instances struct {
	Items []Instance `json:"items"`
}

// Instance is a gateway process under one lease.
type Instance struct {
	Instance       string     `json:"instance"`
	Epoch          int64      `json:"epoch"`
	Host           string     `json:"host"`
	Version        string     `json:"version"`
	Alive          bool       `json:"alive"`
	Started        time.Time  `json:"started"`
	LeaseUntil     *time.Time `json:"lease_until"` // null where leases do not end by time
	Spool          *SpoolNote `json:"spool"`       // null: it has none, or has said that nothing is left in it
	MayHoldAnswers bool       `json:"may_hold_answers"`
}

// SpoolNote is what a process has said last of the answers that it keeps on its own disk.
type SpoolNote struct {
	Depth  int64      `json:"depth"`
	Oldest *time.Time `json:"oldest"`
}

const (
	standardInstances = 200
	mostInstances     = 1000
)

func (a *api) instances(w http.ResponseWriter, r *http.Request, _ string) error {
	got, err := parameters(r, "limit")
	if err != nil {
		return err
	}
	limit, err := limitOf(got["limit"], standardInstances, mostInstances)
	if err != nil {
		return err
	}
	all, err := a.Store.Instances(r.Context(), limit)
	if err != nil {
		return err
	}
	leases := map[[16]byte][]idempotency.InstanceRecord{}
	for _, i := range all {
		leases[i.Owner.Instance] = append(leases[i.Owner.Instance], i)
	}
	list := Instances{Items: []Instance{}}
	for _, i := range all {
		shown := Instance{
			Instance: instanceID(i.Owner.Instance), Epoch: i.Owner.Epoch, Host: i.Host, Version: i.Version, Alive: i.Alive,
			Started: i.Started.UTC(), LeaseUntil: instant(i.LeaseUntil), MayHoldAnswers: idempotency.MayHoldAnswers(leases[i.Owner.Instance]),
		}
		if i.Spool != nil {
			shown.Spool = &SpoolNote{Depth: i.Spool.Depth, Oldest: instant(i.Spool.Oldest)}
		}
		list.Items = append(list.Items, shown)
	}
	return answer(w, list)
}

// instanceID writes an instance as a UUID.
func instanceID(id [16]byte) string { return idempotency.OperationID(id).String() }
