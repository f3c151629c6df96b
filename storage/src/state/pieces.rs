//! A list that grows without moving what it holds.

/// Items in one piece of memory.
const PIECE: usize = 512;

/// A list that grows by pieces of one size: nothing is copied as it grows but the first piece, no more memory than a piece is left
/// over, and the next list finds pieces of its size where the last one was.
#[derive(Debug)]
pub(super) struct Pieces<T> {
    /// All but the last are full.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    pub(super) fn push(&mut self, item: T) {
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(item),
            _ => {
                // Only what has filled one piece asks for others as a whole.
                let mut piece = Vec::with_capacity(if self.pieces.is_empty() { 0 } else { PIECE });
                piece.push(item);
                self.pieces.push(piece);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        let full = self.pieces.len().saturating_sub(1).saturating_mul(PIECE);
        full.saturating_add(self.pieces.last().map_or(0, Vec::len))
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_where_they_were_put() {
        let mut pieces = Pieces::default();
        assert_eq!((pieces.len(), pieces.get(0)), (0, None));
        for number in 0..3 * PIECE {
            assert_eq!(pieces.len(), number);
            pieces.push(number);
        }
        *pieces.get_mut(PIECE).unwrap() = 7;
        for number in 0..3 * PIECE {
            assert_eq!(pieces.get(number), Some(if number == PIECE { &7 } else { &number }));
        }
        assert_eq!(pieces.get(3 * PIECE), None);
    }
}
