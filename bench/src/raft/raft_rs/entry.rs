//! Writes of clients as data of entries: client, sequence, and the value.

use bytes::Bytes;

use crate::raft::content::Write;

/// Returns the data of an entry.
pub fn encode(write: &Write) -> Vec<u8> {
    let mut data = Vec::with_capacity(HEAD + write.value.len());
    data.extend(write.client.to_le_bytes());
    data.extend(write.sequence.to_le_bytes());
    data.extend(&write.value);
    data
}

/// Returns the write of an entry, or `None` if the data is none. The value shares the memory of the data.
pub fn decode(data: &Bytes) -> Option<Write> {
    let client = u32::from_le_bytes(*data.first_chunk()?);
    let sequence = u64::from_le_bytes(*data.get(4..)?.first_chunk()?);
    Some(Write { client, sequence, value: data.slice(HEAD..) })
}

const HEAD: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_read_as_it_was_written() {
        for size in [0, 8, 4096] {
            let write = Write::new(300, 1 << 40, size);
            assert_eq!(decode(&encode(&write).into()), Some(write));
        }
        assert_eq!(decode(&Bytes::from_static(&[0; HEAD - 1])), None);
    }
}
