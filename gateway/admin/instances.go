package admin

import (
	"context"

	"github.com/onceway/onceway/idempotency"
	generated "github.com/onceway/onceway/openapi/admin"
)

const (
	standardInstances = 200
	mostInstances     = 1000
)

// ListInstances answers with gateway processes, one item for each lease: those that are alive first, then those
// whose processes may hold answers.
func (a *api) ListInstances(ctx context.Context, in generated.ListInstancesRequestObject) (generated.ListInstancesResponseObject, error) {
	limit, err := limitOf(in.Params.Limit, standardInstances, mostInstances)
	if err != nil {
		return nil, err
	}
	all, err := a.Store.Instances(ctx, limit)
	if err != nil {
		return nil, err
	}
	leases := map[[16]byte][]idempotency.InstanceRecord{}
	for _, i := range all {
		leases[i.Owner.Instance] = append(leases[i.Owner.Instance], i)
	}
	list := generated.Instances{Items: []generated.Instance{}}
	for _, i := range all {
		shown := generated.Instance{
			Instance: instanceID(i.Owner.Instance), Epoch: i.Owner.Epoch, Host: i.Host, Version: i.Version, Alive: i.Alive,
			Started: i.Started.UTC(), LeaseUntil: instant(i.LeaseUntil), MayHoldAnswers: idempotency.MayHoldAnswers(leases[i.Owner.Instance]),
		}
		if i.Spool != nil {
			shown.Spool = &generated.SpoolNote{Depth: i.Spool.Depth, Oldest: instant(i.Spool.Oldest)}
		}
		list.Items = append(list.Items, shown)
	}
	return inJSON(list), nil
}

// instanceID writes an instance as a UUID.
func instanceID(id [16]byte) string { return idempotency.OperationID(id).String() }
