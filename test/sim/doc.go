// Package sim holds the simulation: gate, rings, deliveries, the sink "unixsock" and receivers, under virtual time and
// over connections in memory, driven by schedules that are drawn from a seed. After each step and at the end the promises
// are checked against what the schedule itself knows to be true.
//
//	make sim                      the seeds that the tests run, 2000
//	make sim SEEDS=20000          more of them
//	make sim SEED=17              one, with everything that happened in it
//	make soak SOAK=1h             other seeds each time, for as long
//
// # Files
//
//	sim_test.go      which seeds run, and how one that fails is told
//	plan_test.go     seed to schedule
//	loaded_test.go   schedules with a large session table, steady load and a stall
//	truth_test.go    the events and sessions that there are
//	world_test.go    gate, rings, deliveries and sinks
//	steps_test.go    what a step does
//	connector_test.go  how a sink gets a connection
//	ending_test.go   how everything is taken down
//	wire_test.go     a connection in memory: what is on its way
//	end_test.go      its two ends, and a listener
//	sniffer_test.go  what is written to it, checked frame by frame
//	program_test.go  receiver programs: what they keep, how they die
//	witness_test.go  what receivers were handed, checked as it comes
//	check_test.go    what is checked after each step and at the end
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
