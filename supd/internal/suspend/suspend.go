// Package suspend is about calls of clients that wait for a process while the
// daemon is upgraded in place: the daemon breaks such a call off, the server
// keeps its connection, and both go on with it in the next image, so that the
// client hears nothing but the answer.
package suspend

import (
	"context"
	"encoding/json"
)

// Error is what a call returns that was broken off and is to be made again
// with Memo.
type Error struct {
	// Memo is what the call needs to go on. It is never nil.
	Memo json.RawMessage
}

// Error is the text for a client whose call could not be kept.
func (*Error) Error() string {
	return "the daemon is being upgraded and waits no longer; what was begun goes on"
}

type key struct{}

// With gives a context to a call that may be broken off. Memo is that of the
// call if it was broken off before, nil otherwise.
func With(ctx context.Context, memo json.RawMessage) context.Context {
	return context.WithValue(ctx, key{}, memo)
}

// Memo tells whether a call may be broken off, and its memo.
func Memo(ctx context.Context) (memo json.RawMessage, may bool) {
	memo, may = ctx.Value(key{}).(json.RawMessage)
	return memo, may
}
