//go:build race

package quicmesh_test

const raceEnabled = true
