//! The median of some rounds, and how far they are apart.

/// `min <= median <= max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// One value has no spread.
    pub count: usize,
}

/// What is no number (nothing divided by nothing) is left out.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (min, max, count) = (*values.first()?, *values.last()?, values.len());
    let median = f64::midpoint(values[(count - 1) / 2], values[count / 2]);
    Some(Spread { median, min, max, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread([3.0, 1.0, 8.0]), Some(Spread { median: 3.0, min: 1.0, max: 8.0, count: 3 }));
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(spread([5.0, f64::NAN, f64::INFINITY]), Some(Spread { median: 5.0, min: 5.0, max: 5.0, count: 1 }));
        assert_eq!(spread([]), None);
    }
}
