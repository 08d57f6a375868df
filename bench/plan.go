package main

import "slices"

// cellsOf returns every cell of a round, in the order of the table. Targets follow each other within a
// workload and number of connections, so that what is compared is measured within seconds.
func cellsOf(targets []target, workloads []workload, connections []int) []cell {
	var cells []cell
	for _, w := range workloads {
		for _, n := range connections {
			for _, t := range targets {
				cells = append(cells, cell{t, w, n})
			}
		}
	}
	return cells
}

// rotate returns cells in the order of the given round. Within each group of n cells another one comes
// first in each round and each group, so that nobody always runs after the same neighbour's mess.
func rotate(cells []cell, n, round int) []cell {
	var rotated []cell
	for group := range slices.Chunk(cells, n) {
		first := (round + len(rotated)/n) % len(group)
		rotated = append(append(rotated, group[first:]...), group[:first]...)
	}
	return rotated
}
