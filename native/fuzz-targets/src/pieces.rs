//! An input as a sequence of steps.

/// A byte that says what to do, and bytes to do it with.
pub(crate) struct Piece<'d> {
    pub(crate) kind: u8,
    pub(crate) data: &'d [u8],
}

/// Splits an input: a byte of kind, two of length (little-endian), as many of data, and again.
pub(crate) struct Pieces<'d>(pub(crate) &'d [u8]);

impl<'d> Iterator for Pieces<'d> {
    type Item = Piece<'d>;

    fn next(&mut self) -> Option<Piece<'d>> {
        let (&[kind, low, high], rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (data, rest) = rest.split_at(length);
        self.0 = rest;
        Some(Piece { kind, data })
    }
}

/// The input that is split into these.
pub(crate) fn join<'d>(pieces: impl IntoIterator<Item = (u8, &'d [u8])>) -> Vec<u8> {
    let mut input = Vec::new();
    for (kind, data) in pieces {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        input.push(kind);
        input.extend(length.to_le_bytes());
        input.extend(&data[..usize::from(length)]);
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_split_as_it_was_joined() {
        let input = join([(1, &b"ab"[..]), (2, b""), (255, &[7; 300])]);
        let split: Vec<_> = Pieces(&input).map(|piece| (piece.kind, piece.data)).collect();
        assert_eq!(split, [(1, &b"ab"[..]), (2, b""), (255, &[7; 300])]);
        assert_eq!(
            Pieces(&[1, 5, 0, 9]).map(|piece| piece.data).collect::<Vec<_>>(),
            [&[9]]
        );
    }
}
