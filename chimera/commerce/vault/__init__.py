"""The vault: a contract that holds the money and pays nothing but what its limits and the CFO's signature allow."""
