//go:build !race

package install

const stride = 1
