//go:build race

package install

// Every process takes long to start with the race detector: it sees a third of the steps.
const stride = 3
