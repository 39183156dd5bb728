use super::super::testing_host::Connection;
