// Package capture takes a still picture of every live video track at its
// call's interval and keeps the ledger of what was not looked at.
package capture
