//go:build race

package agent

// crowd is smaller where each step takes ten times as long.
const crowd = 500
