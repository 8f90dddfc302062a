//! Which backend is next: a number, from weights alone. Knows no backend, no socket and no thread.

use crate::sync::{AtomicUsize, Ordering};

/// Round robin with weights: a schedule worked out once, and a cursor.
#[derive(Debug)]
pub struct RoundRobin {
    /// Indices in the order they are taken. Empty when all weights are 0.
    schedule: Vec<u16>,
    cursor: AtomicUsize,
}

impl RoundRobin {
    /// A schedule in which index `i` stands `weights[i]` times (by their greatest common divisor), spread evenly.
    pub fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let weights: Vec<i64> = weights.iter().map(|&weight| i64::from(weight / divisor)).collect();
        let total: i64 = weights.iter().sum();
        // Smooth weighted round robin: each turn all gain their weight, the richest is taken and pays the total. A 5:1:1
        // then goes a a b a c a a and not a a a a a b c.
        let mut credit = vec![0i64; weights.len()];
        let schedule = (0..total)
            .filter_map(|_| {
                for (credit, weight) in credit.iter_mut().zip(&weights) {
                    *credit += weight;
                }
                let richest =
                    (0..credit.len()).filter(|&i| weights[i] > 0).max_by_key(|&i| (credit[i], usize::MAX - i))?;
                credit[richest] -= total;
                u16::try_from(richest).ok()
            })
            .collect();
        Self { schedule, cursor: AtomicUsize::new(0) }
    }

    /// The next one; `None` when nobody takes new exchanges.
    pub fn next(&self) -> Option<usize> {
        if self.schedule.is_empty() {
            return None;
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed) % self.schedule.len();
        Some(usize::from(self.schedule[turn]))
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], n: usize) -> Vec<usize> {
        let balance = RoundRobin::new(weights);
        (0..n).filter_map(|_| balance.next()).collect()
    }

    #[test]
    fn equals_take_turns() {
        assert_eq!(turns(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&[7, 7], 4), [0, 1, 0, 1]);
    }

    #[test]
    fn weights_are_met_exactly_and_spread() {
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weight_zero_gets_nothing() {
        assert_eq!(turns(&[0, 2], 3), [1, 1, 1]);
        assert_eq!(turns(&[0, 0], 3), []);
        assert_eq!(turns(&[], 3), []);
    }
}
