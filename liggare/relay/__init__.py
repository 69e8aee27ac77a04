"""The relayer: takes signed messages, pays the gas, and loses or doubles none of them."""
