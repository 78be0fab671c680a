//go:build race

package enroll_test

// With the race detector a process takes long to start: it sees some of the steps.
const stride = 11
