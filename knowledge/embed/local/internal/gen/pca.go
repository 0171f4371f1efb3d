package main

import (
	"fmt"
	"math"
)

// Products are converted explicitly before they are added: the language then
// forbids fusing the two operations, and every processor gives the same bits.

// centre takes the mean of the rows from each of them.
func centre(rows [][dimension]float32) {
	var mean [dimension]float64
	for i := range rows {
		for j, x := range rows[i] {
			mean[j] += float64(x)
		}
	}
	for i := range rows {
		for j := range rows[i] {
			rows[i][j] -= float32(mean[j] / float64(len(rows)))
		}
	}
}

// principalComponent returns the direction, of length 1, in which centred rows
// vary most, by power iteration on their covariance.
func principalComponent(rows [][dimension]float32) ([dimension]float64, error) {
	covariance := covarianceOf(rows)
	var direction [dimension]float64
	for i := range direction {
		direction[i] = 1 / math.Sqrt(dimension)
	}
	// The two components of the package settle after 53 and 125 rounds;
	// 10,000 mean that something is wrong with the data.
	for range 10_000 {
		var next [dimension]float64
		length := 0.0
		for i := range next {
			for j, x := range direction {
				next[i] += float64(covariance[i][j] * x)
			}
			length += float64(next[i] * next[i])
		}
		length = math.Sqrt(length)
		change := 0.0
		for i := range next {
			next[i] /= length
			change = max(change, math.Abs(next[i]-direction[i]))
		}
		direction = next
		if change < 1e-12 {
			return direction, nil
		}
	}
	return direction, fmt.Errorf("principal component does not settle")
}

func covarianceOf(rows [][dimension]float32) *[dimension][dimension]float64 {
	var covariance [dimension][dimension]float64
	for i := range rows {
		for a, x := range rows[i] {
			for b, y := range rows[i][:a+1] {
				covariance[a][b] += float64(float64(x) * float64(y))
			}
		}
	}
	for a := range covariance {
		for b := range a {
			covariance[b][a] = covariance[a][b]
		}
	}
	return &covariance
}

// project takes out of each row what lies in the direction.
func project(rows [][dimension]float32, direction [dimension]float64) {
	for i := range rows {
		along := 0.0
		for j, x := range rows[i] {
			along += float64(float64(x) * direction[j])
		}
		for j := range rows[i] {
			rows[i][j] -= float32(float64(along * direction[j]))
		}
	}
}
