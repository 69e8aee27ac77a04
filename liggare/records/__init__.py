"""Records: who may read which records, said by the patient, obeyed by the custodian, checked by anyone."""
