//! Stands in for the container types until they land.

macro_rules! placeholder {
    ($($type:ident)*) => {$(
        #[derive(Clone, Debug, Default)]
        pub struct $type(Vec<u8>);

        impl $type {
            pub fn len(&self) -> usize {
                self.0.len()
            }
            pub fn heap_bytes(&self) -> usize {
                self.0.capacity()
            }
            pub fn encoding(&self) -> &'static str {
                "none"
            }
        }
    )*};
}

placeholder!(Hash);
