// Package tests has what crosses processes: pipelines on real components, faults, and the rules about
// what imports what. Its tests build the commands and run them as a user would.
package tests
