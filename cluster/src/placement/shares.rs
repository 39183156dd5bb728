//! Divides a whole among some by weight, none beyond its limit. Pure arithmetic in integers.

/// One replica. Shares are counted in fractions of it.
pub const UNIT: u64 = 1 << 16;

/// Divides `total` among parts of (weight, limit in whole replicas). What a limit keeps from one goes to the others by
/// weight; only when all limits are reached, less than `total` is given out. What division leaves over goes to the first.
#[must_use]
pub fn share_out(total: u64, parts: &[(u64, u64)]) -> Vec<u64> {
    let mut shares = vec![0; parts.len()];
    let mut open: Vec<usize> = (0..parts.len()).collect();
    let mut left = total;
    loop {
        let weights: u64 = open.iter().map(|&part| parts[part].0).sum();
        let by_weight = |part: usize| {
            let share = u128::from(left) * u128::from(parts[part].0) / u128::from(weights.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let limit = |part: usize| parts[part].1.saturating_mul(UNIT);
        let (full, rest): (Vec<usize>, Vec<usize>) = open
            .iter()
            .partition(|&&part| by_weight(part) >= limit(part));
        if full.is_empty() {
            for &part in &rest {
                shares[part] = by_weight(part);
            }
            left -= rest.iter().map(|&part| shares[part]).sum::<u64>();
            for &part in &rest {
                let extra = left.min(limit(part) - shares[part]).min(1);
                shares[part] += extra;
                left -= extra;
            }
            return shares;
        }
        for part in full {
            shares[part] = limit(part).min(left);
            left -= shares[part];
        }
        open = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_one_cannot_take_goes_to_the_others_by_weight() {
        let shares = share_out(10 * UNIT, &[(8, 4), (1, 9), (1, 9)]);
        assert_eq!(shares, [4 * UNIT, 3 * UNIT, 3 * UNIT]);
        assert_eq!(share_out(9 * UNIT, &[(1, 2), (1, 3)]), [2 * UNIT, 3 * UNIT]);
        assert_eq!(share_out(0, &[(1, 1)]), [0]);
        assert!(share_out(5, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn all_is_given_out_and_no_limit_broken(
            parts in proptest::collection::vec((1u64..400, 0u64..100), 1..20), percent in 0u64..=100
        ) {
            let room: u64 = parts.iter().map(|part| part.1 * UNIT).sum();
            let total = room * percent / 100;
            let shares = share_out(total, &parts);
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            for (share, part) in shares.iter().zip(&parts) {
                prop_assert!(*share <= part.1 * UNIT);
            }
        }
    }
}
