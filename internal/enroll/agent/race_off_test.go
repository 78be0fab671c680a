//go:build !race

package agent

// crowd is how many certificates the simulations keep.
const crowd = 10_000
