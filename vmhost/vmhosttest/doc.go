// Package vmhosttest holds the tests that every driver of package vmhost
// passes, and the guests that they and other tests run.
package vmhosttest
