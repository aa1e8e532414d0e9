// Package sim simulates the delivery of events, from the gate to receivers, in virtual time.
//
// Gate, rings, deliveries, the sink "unixsock" and receivers run over connections in memory. A schedule, drawn from a seed,
// says what happens when. After each step and at the end the promises of docs/design.md are checked against the schedule.
//
//	make sim                      the seeds that the tests run, 2000
//	make sim SEEDS=20000          more of them
//	make sim SEED=17              one, with everything that happened in it
//	make soak SOAK=1h             other seeds each time, for as long
//
// # Files
//
//	sim_test.go      which seeds run, and the report of one that fails
//	plan_test.go     seed to schedule
//	loaded_test.go   schedules with a large session table, steady load and a stall
//	history_test.go  the events that have happened, and the sessions
//	world_test.go    gate, rings, deliveries and sinks
//	steps_test.go    the steps of a schedule
//	connector_test.go  the connections of a sink
//	ending_test.go   the stop of all parts
//	wire_test.go     a connection in memory: the bytes between its ends
//	end_test.go      the two ends of a connection, and a listener
//	sniffer_test.go  checks what is written to a connection, frame by frame
//	program_test.go  receiver programs: what they store, when they end
//	witness_test.go  checks what receivers are handed, as it comes
//	check_test.go    checks after each step and at the end
//
// # What is deterministic
//
// The schedule is drawn from the seed before it runs and does not look at what comes of it. Time is virtual, and steps are
// taken one at a time, each until everybody waits. Whatever wires draw depends on the place in the stream of bytes, not
// on how they were cut into writes, and each direction of each wire delivers at instants of its own, so that two of them
// never act at once. The pauses of core/deliver are random; a connection is made at an instant that does not depend on
// them. So a seed gives the same bytes at the same virtual time, and TestSameSeed checks that.
//
// From when the losses that are owed are announced at the end, that goroutine and a sink may act at the same instant; what
// tells two runs of one seed apart ends there.
//
// In one schedule of eight, the workers run at the same instant, each in a goroutine of its own: what comes of that
// depends on how they are scheduled. Such a seed may need to be run more than once to fail again.
package sim
