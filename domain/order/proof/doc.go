// Package proof holds no code: its tests prove the machine of package order,
// written from DESIGN section 5 and not from the machine's source.
//
//   - cells: every (status, kind) and every guard against a table written by hand;
//   - oracle: a plain, slow fold beside the real one, compared on random histories;
//   - lattice: every set of up to four facts, every fact added to each of its subsets;
//   - shuffles: larger random sets, with ties, undated facts, money and resolutions;
//   - simulator: histories of what really happened to the money, and two naive baselines;
//   - mutation: every cell changed to every other code must fail a golden case.
//
// A wrong table converges as well as a right one, which is why convergence alone
// proves little and the hand-written table, the goldens and the simulator stand
// beside it.
package proof
