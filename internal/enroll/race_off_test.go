//go:build !race

package enroll_test

// Of the steps, each of which takes two processes: four make a file, so that in time each
// kind is met.
const stride = 5
