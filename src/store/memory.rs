//! What an allocation really costs: the size classes of jemalloc, the allocator we run on.
//! Containers add these up as they change, so that memory use is known without asking the allocator.
//!
//! Classes: <https://jemalloc.net/jemalloc.3.html>, table "Size classes", quantum 16 bytes. Since 5.3.1
//! (`disable_large_size_classes`, on by default) what is larger than 16 KiB is rounded to whole pages only.

const PAGE_BYTES: usize = 4096;

/// Bytes that an allocation of `requested` bytes takes; 0 for none.
#[inline]
pub const fn allocation_bytes(requested: usize) -> usize {
    match requested {
        0 => 0,
        1..=8 => 8,
        9..=128 => (requested + 15) & !15,
        _ => {
            // Four classes to each doubling: a quarter of the power of two below, but no more than a page.
            let doubling = usize::BITS - 1 - (requested - 1).leading_zeros();
            let quarter = 1usize << (doubling - 2);
            let step = if quarter < PAGE_BYTES {
                quarter
            } else {
                PAGE_BYTES
            };
            match requested.checked_add(step - 1) {
                Some(sum) => sum & !(step - 1),
                None => usize::MAX,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_up_to_the_documented_classes() {
        let classes = [
            8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768,
            896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192,
            10240, 12288, 14336, 16384, 20480, 24576, 28672, 32768, 36864, 40960,
        ];
        let mut below = 0;
        for class in classes {
            for requested in below + 1..=class {
                assert_eq!(allocation_bytes(requested), class, "of {requested}");
            }
            below = class;
        }
        assert_eq!(allocation_bytes(0), 0);
    }

    #[test]
    fn absurd_requests_do_not_overflow() {
        assert_eq!(allocation_bytes(usize::MAX), usize::MAX);
    }
}
