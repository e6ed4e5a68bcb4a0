// Package house holds the rules of this repository as tests: who may import
// whom, what go.mod files may say, how long a file may be, that links lead
// somewhere. Each failure says why the rule is there.
package house
