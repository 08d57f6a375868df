// Package admin is what operators and their machines ask the gateway: whether it lives, whether it
// should get requests, and what it has counted.
//
// None of it needs the store to be well: /livez says only that the process answers, so that an ill
// store never makes an orchestrator kill gateways; /readyz says whether new requests should come
// here. Answers name checks, never causes, because probes need no token: causes go to the log.
package admin
