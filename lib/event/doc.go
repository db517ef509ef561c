// Package event is Supervisor's notification of event listeners: the types of
// events and their text, the protocol that a listener speaks, and the pools in
// which events wait for one. It has no clock, no goroutine and no I/O; like
// package process it is told what happened and answers with what is to be done.
//
// # Use
//
// A daemon has one Hub for as long as it lives, over reloads too, because the
// serial numbers go on. The goroutine that owns the daemon's state owns the Hub
// and its pools; no other may touch them.
//
//	hub := &event.Hub{Identifier: "supervisor"}
//
//	// a group of kind eventlistener becomes active
//	pool := hub.Open(event.PoolConfig{…})
//	do(hub.Publish(event.GroupAdded(group)))
//
//	// a process changes its state: the pool first, if it is a listener
//	do(pool.Process(name, "RUNNING"))
//	do(hub.Publish(event.StateChange{…}.Event()))
//
//	// the listener's standard output, as it was read
//	do(pool.Output(name, chunk))
//
//	// its group is removed
//	hub.Close(pool)
//
// Every call answers with effects, to be carried out in order:
//
//   - Send: write Data to the standard input of a listener. The pipe may be
//     full, so the write belongs to a goroutine of that listener, which has at
//     most one of them to write at a time. If the pipe is broken the owner calls
//     Pool.Unreachable; if the listener ends meanwhile, nothing needs to be said.
//   - Log: a line for the activity log.
//   - Print: text for the daemon's own standard output.
//
// Three rules keep deliveries right. What a listener wrote before it ended must
// be given to Output before its end is given to Process. Reports about a former
// run of a listener (late output, a failed write) must be thrown away, not
// passed on. Process must be told of every state, STARTING included.
//
// Rendering a payload that nobody reads is a waste in a busy daemon; Hub.Wants
// tells beforehand whether there is a subscriber.
package event
