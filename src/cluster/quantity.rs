//! Kubernetes resource quantities as integers: CPU in thousandths of a core, everything else in whole units (bytes, pods,
//! devices). Follows `k8s.io/apimachinery/pkg/api/resource`: a value that is no whole number is rounded up.

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Kubernetes quantity (examples: 500m, 2, 64Mi, 1e3)")]
pub struct QuantityError {
    /// The text as found.
    pub text: String,
}

/// The value in thousandths, rounded up (CPU: `"1500m"` and `"1.5"` are 1500). Saturates at the bounds of `i64`.
pub fn milli(text: &str) -> Result<i64, QuantityError> {
    scaled(text, 3)
}

/// The value in whole units, rounded up (memory: `"1Ki"` is 1024). Saturates at the bounds of `i64`.
pub fn whole(text: &str) -> Result<i64, QuantityError> {
    scaled(text, 0)
}

/// `text` times ten to the power of `scale`, rounded away from zero.
fn scaled(text: &str, scale: i32) -> Result<i64, QuantityError> {
    let error = || QuantityError { text: text.to_owned() };
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (integer.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(error());
    }
    let (binary, decimal) = suffix_power(suffix).ok_or_else(error)?;
    let mut digits: u128 = 0;
    let mut exponent = scale + decimal;
    let mut dropped = false;
    for (position, digit) in integer.bytes().chain(fraction.bytes()).enumerate() {
        if digits > u128::MAX / 4096 {
            dropped |= digit != b'0';
            exponent += i32::from(position < integer.len());
            continue;
        }
        digits = digits * 10 + u128::from(digit - b'0');
        exponent -= i32::from(position >= integer.len());
    }
    let mut value = match binary {
        0 => digits,
        power => digits.checked_shl(power).filter(|shifted| shifted >> power == digits).unwrap_or(u128::MAX),
    };
    let mut rest = dropped;
    while exponent < 0 && value > 0 {
        rest |= !value.is_multiple_of(10);
        value /= 10;
        exponent += 1;
    }
    while exponent > 0 && value > 0 {
        value = value.saturating_mul(10);
        exponent -= 1;
    }
    rest |= digits > 0 && value == 0;
    let magnitude = i64::try_from(value.saturating_add(u128::from(rest))).unwrap_or(i64::MAX);
    Ok(if negative { -magnitude } else { magnitude })
}

/// (power of two, power of ten) of a suffix.
fn suffix_power(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            let power: i32 = power.parse().ok()?;
            (0, power.clamp(-60, 60))
        }
    })
}

/// Bytes in the binary unit that keeps the number short: `512Mi`, `7.8Gi`.
pub fn bytes(amount: i64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let mut value = amount as f64;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value.fract() != 0.0 && value.abs() < 100.0);
    format!("{value:.digits$}{}", units[unit])
}

/// Thousandths of a core as Kubernetes writes them: `250m`, `2`.
pub fn cores(milli: i64) -> String {
    if milli % 1000 == 0 { format!("{}", milli / 1000) } else { format!("{milli}m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, expected_milli, expected_whole) in [
            ("0", 0, 0),
            ("1", 1000, 1),
            ("1500m", 1500, 2),
            ("0.1", 100, 1),
            (".5", 500, 1),
            ("1.", 1000, 1),
            ("1n", 1, 1),
            ("1Ki", 1_024_000, 1024),
            ("0.5Gi", 536_870_912_000, 536_870_912),
            ("2e3", 2_000_000, 2000),
            ("12E-1", 1200, 2),
            ("-1500m", -1500, -2),
            ("8Ei", i64::MAX, i64::MAX),
            ("100000000000000000000000000000000000000000000", i64::MAX, i64::MAX),
        ] {
            assert_eq!((milli(text), whole(text)), (Ok(expected_milli), Ok(expected_whole)), "{text}");
        }
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        for text in ["", "m", "1.2.3", "12abc", "1 Gi", "Gi", "--1", "0x10", "1e", "½"] {
            assert!(milli(text).is_err(), "{text}");
        }
    }
}
