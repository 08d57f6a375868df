// Package admin is what operators and their machines ask the gateway: whether it lives, whether it
// should get requests, what it has counted; and, below /admin/v1, what became of requests, and what only
// a human can say of them.
//
// An operator's word on an operation in doubt is signed with the name of a token, kept with its evidence,
// and cannot overwrite a final state. Answers of this API carry callers' names and keys, and bodies only
// to those who have a token; its log lines carry none of them, nor the evidence.
//
// Addresses, parameters and calls of /admin/v1 are those of openapi/admin.yaml, by the server that is generated from
// it; what writes the answers is ours, because generated answers declare no length.
//
// The probes do not need the store to be well: /livez says only that the process answers, so that an ill
// store never makes an orchestrator kill gateways; /readyz says whether new requests should come
// here. Answers name checks, never causes, because probes need no token: causes go to the log.
package admin
